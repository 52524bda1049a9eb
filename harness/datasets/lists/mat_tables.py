"""Reader of lists that are variables of a MATLAB file."""

from __future__ import annotations

from harness.common.errors import UserError
from harness.datasets.files.mat_files import read_mat, texts_of
from harness.datasets.lists.listed_rows import Rows
from harness.datasets.lists.row_reader import ListFile, RowReader


def read_mat_table(one: ListFile) -> Rows | None:
    """Return one row for each entry of the variables; ``None`` if the file cannot be read at all.

    Columns of the table are variables. If none has ids, they are the rows' numbers from 1.
    """
    names = {name: str(variable) for name, variable in one.table.columns.items()}
    with one.mistakes.gather():
        found = read_mat(one.file.read(), one.where, list(names.values()))
        columns = {
            name: texts_of(found[variable], f"{one.where}: {variable}")
            for name, variable in names.items()
        }
        counts = {names[name]: len(texts) for name, texts in columns.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{count:,} {variable}" for variable, count in counts.items())
            raise UserError(one.where, f"has {listed}", "give a file with as many of each")
        count = next(iter(counts.values()))
        columns.setdefault("id", [str(number) for number in range(1, count + 1)])
        reader = RowReader(one, {name: place for place, name in enumerate(columns)}, len(columns))
        return reader.read(enumerate(zip(*columns.values(), strict=True), start=1))
    return None
