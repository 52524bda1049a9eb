import pytest


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Work in an empty folder, so that written files have short paths in messages."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
