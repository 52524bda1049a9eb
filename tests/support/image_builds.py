"""Images that a test builds."""

from harness.config.environments import environment_of


def build(engine, *modules):
    """Build the image of these modules; return its environment and the log."""
    environment = environment_of(modules)
    said = []
    engine.build([environment], said.append)
    return environment, said


def inside(engine, environment, command):
    """What a command prints in a container of an image."""
    return engine.client.containers.run(
        engine.id_of(environment), ["sh", "-c", command], remove=True, network_mode="none"
    ).decode()
