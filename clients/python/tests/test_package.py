"""The package itself: what is made is in step, the types hold, the README is true."""

from __future__ import annotations

import contextlib
import inspect
import io
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import CLIENT, StartServer

import arrwdb


def test_what_is_made_is_in_step_with_the_protos() -> None:
    check = [sys.executable, str(CLIENT / "generate.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_hold() -> None:
    check = [sys.executable, "-m", "mypy", "--cache-dir", "/dev/null"]
    done = subprocess.run(check, cwd=CLIENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_installs_from_its_folder_alone(tmp_path: pathlib.Path) -> None:
    copy, target = tmp_path / "copy", tmp_path / "target"
    left_out = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(CLIENT, copy, ignore=left_out)
    install = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps"]
    install += ["--quiet", "--disable-pip-version-check", "--target", str(target), str(copy)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    def files(root: pathlib.Path) -> set[str]:
        paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return {str(path) for path in paths if "__pycache__" not in path.parts}

    assert files(target / "arrwdb") == files(CLIENT / "src" / "arrwdb")
    assert "py.typed" in files(target / "arrwdb")
    use = [sys.executable, "-c", "import arrwdb; print(arrwdb.__file__)"]
    done = subprocess.run(
        use, env={"PYTHONPATH": str(target)}, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(str(target)), done.stderr


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    for one, other in (
        (arrwdb.Client, arrwdb.AsyncClient),
        (arrwdb.Subscription, arrwdb.AsyncSubscription),
        (arrwdb.Export, arrwdb.AsyncExport),
        (arrwdb.HitStream, arrwdb.AsyncHitStream),
    ):
        assert methods(one) == methods(other)
        for name in methods(one):
            assert inspect.getdoc(getattr(one, name)), name


def test_every_method_of_the_server_has_one_here() -> None:
    from arrwdb.v1 import stubs

    served = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()
        for service in ("Library", "Document", "Search", "Event", "Consumer", "Index")
        for method in re.findall(
            r"self\.(\w+): ", inspect.getsource(getattr(stubs, f"{service}ServiceStub"))
        )
    }
    other_names = {
        "batch_get_documents": "get_documents",
        "export_documents": "export",
        "stream_ingest_documents": "ingest",
        # The stream that tells of each document serves for this too.
        "ingest_documents": "ingest",
        "seek": "seek_consumer",
        "pause": "pause_consumer",
        "resume": "resume_consumer",
    }
    for method in served:
        assert hasattr(arrwdb.Client, other_names.get(method, method)), method


BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_readme_is_true(start_server: StartServer) -> None:
    server = start_server()
    blocks = BLOCK.findall((CLIENT / "README.md").read_text())
    assert len(blocks) > 10
    namespace: dict[str, object] = {}
    printed = ""
    for kind, text in blocks:
        if kind == "text":
            assert printed == text
            printed = ""
            continue
        # What was printed before and not shown would be a lie by omission.
        assert printed == ""
        out = io.StringIO()
        code = compile(text.replace("127.0.0.1:8000", server.address), "README.md", "exec")
        with contextlib.redirect_stdout(out):
            exec(code, namespace)
        printed = out.getvalue()
    assert printed == ""


@pytest.mark.parametrize("name", arrwdb.__all__)
def test_what_is_exported_is_there(name: str) -> None:
    assert getattr(arrwdb, name) is not None
