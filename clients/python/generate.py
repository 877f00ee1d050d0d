"""Makes what is made in this package: the messages and stubs of `arrwdb.v1` from proto/, and the
blocking client from the asyncio one.

    pip install grpcio-tools==1.85.1
    python clients/python/generate.py            # writes
    python clients/python/generate.py --check    # ends with 1 when what is committed differs

What it makes is committed, so that an installation needs no compiler. The messages are protoc's
own but for its check that the protobuf at run time is not older than the compiler: proto3 messages
like these load with every protobuf that `pyproject.toml` admits, and a library that demanded the
newest could not live beside others.
"""

from __future__ import annotations

import argparse
import importlib.resources
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"
PACKAGE = HERE / "src" / "arrwdb"

RUNTIME_CHECK = re.compile(
    r"^from google\.protobuf import runtime_version as _runtime_version\n"
    r"|^_runtime_version\.ValidateProtobufRuntimeVersion\(\n(?:    .*\n)*\)\n"
    r"|^# Protobuf Python Version: .*\n",
    re.MULTILINE,
)

STUBS_HEAD = '''"""A stub of each service, for blocking and for asyncio channels. Made by generate.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc
    import grpc.aio

'''

BLOCKING_HEAD = "# Made by generate.py from ../_aio/{name}: change that, not this.\n"

# What asyncio code becomes, in this order.
BLOCKING_WORDS = [
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsyncClient\b", "Client"),
    (r"\bAsyncIter(ator|able)\b", r"Iter\1"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\b__aiter__\b", "__iter__"),
    (r"\b__anext__\b", "__next__"),
    (r"\bAsync(Export|HitStream|Subscription)\b", r"\1"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
]

BLOCKING_FILES = ["client.py", "streams.py", "subscription.py"]


def messages(out: pathlib.Path) -> dict[str, str]:
    """protoc's modules, by their path below the package."""
    from grpc_tools import protoc

    files = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main(["protoc", *arguments, *files]) != 0:
        raise SystemExit("protoc failed")
    return {
        path.relative_to(out / "arrwdb").as_posix(): RUNTIME_CHECK.sub("", path.read_text())
        for path in sorted(out.rglob("*.py*"))
    }


def descriptors(out: pathlib.Path) -> list[object]:
    """The files that have services."""
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    files = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    target = out / "descriptors"
    arguments = [f"-I{PROTO}", f"-I{well_known}", f"--descriptor_set_out={target}"]
    if protoc.main(["protoc", *arguments, *files]) != 0:
        raise SystemExit("protoc failed")
    all_files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    return [file for file in all_files.file if file.service]


def stubs(files: list) -> str:
    """A class for each service and kind of channel, with typed methods."""
    modules, classes = [], []
    for file in files:
        module = pathlib.PurePosixPath(file.name).stem + "_pb2"
        modules.append(module)
        for service in file.service:
            for prefix, channel in (("", "grpc.Channel"), ("Async", "grpc.aio.Channel")):
                of = channel.rpartition(".")[0]
                lines = [f"class {prefix}{service.name}Stub:"]
                lines.append(f'    """{service.name} over a `{channel}`."""\n')
                lines.append(f"    def __init__(self, channel: {channel}) -> None:")
                for method in service.method:
                    kinds = [
                        "stream" if streams else "unary"
                        for streams in (method.client_streaming, method.server_streaming)
                    ]
                    kind = "".join(kind.capitalize() for kind in kinds)
                    request, reply = (
                        f"{module}.{name.rpartition('.')[2]}"
                        for name in (method.input_type, method.output_type)
                    )
                    lines += [
                        f"        self.{method.name}: {of}.{kind}MultiCallable[",
                        f"            {request},",
                        f"            {reply},",
                        f"        ] = channel.{'_'.join(kinds)}(",
                        f'            "/{file.package}.{service.name}/{method.name}",',
                        f"            request_serializer={request}.SerializeToString,",
                        f"            response_deserializer={reply}.FromString,",
                        "        )",
                    ]
                classes.append("\n".join(lines) + "\n")
    imports = "from . import (\n" + "".join(f"    {name},\n" for name in sorted(modules)) + ")\n"
    return STUBS_HEAD.replace("if TYPE", imports + "\nif TYPE", 1) + "\n" + "\n\n".join(classes)


def blocking(name: str) -> str:
    """The blocking twin of an asyncio module."""
    text = (PACKAGE / "_aio" / name).read_text()
    for pattern, replacement in BLOCKING_WORDS:
        text = re.sub(pattern, replacement, text)
    # The names have changed, and with them their order.
    text = re.sub(
        r"^(from collections\.abc import )(.*)$",
        lambda line: line[1] + ", ".join(sorted(line[2].split(", "))),
        text,
        flags=re.MULTILINE,
    )
    return BLOCKING_HEAD.format(name=name) + text


def made() -> dict[str, str]:
    """All that is made, by its path below the package."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        files = messages(out)
        files["v1/stubs.py"] = stubs(descriptors(out))
    files.update({f"_blocking/{name}": blocking(name) for name in BLOCKING_FILES})
    return files


def committed() -> set[str]:
    """Paths below the package of what looks made."""
    paths = [*PACKAGE.glob("v1/*_pb2.py*"), PACKAGE / "v1" / "stubs.py"]
    paths += [PACKAGE / "_blocking" / name for name in BLOCKING_FILES]
    return {path.relative_to(PACKAGE).as_posix() for path in paths if path.exists()}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="write nothing, compare")
    files = made()
    stale = committed() - set(files)
    differing = {
        path
        for path, text in files.items()
        if not (PACKAGE / path).exists() or (PACKAGE / path).read_text() != text
    }
    if arguments.parse_args().check:
        for path in sorted(stale | differing):
            print(f"src/arrwdb/{path} is not what generate.py makes")
        return 1 if stale or differing else 0
    for path in stale:
        (PACKAGE / path).unlink()
    for path in differing:
        (PACKAGE / path).write_text(files[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
