"""`python -m trimtab` is `trimtab`."""

from trimtab.cli.main import run

if __name__ == "__main__":
    run()
