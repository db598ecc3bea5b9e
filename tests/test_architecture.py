"""Import rules that `[tool.importlinter]` cannot express, and the names in docs/architecture.md."""

import ast
import re
import subprocess
import sys

from tests.service_process import ROOT

OURS = {"config", "configuration", "main", "middleware", "routers", "server", "services", "simulator"}
PARSERS = {
    "configuration.addresses",
    "configuration.dotenv_file",
    "configuration.setting_errors",
    "configuration.values",
    "services.ollama.types.durations",
    "services.ollama.types.embedding_prefixes",
    "services.ollama.types.model_names",
}


def test_the_settings_import_only_their_parsers() -> None:
    tree = ast.parse((ROOT / "config.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {module for module in imported if module.partition(".")[0] in OURS} == PARSERS


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("configuration", "middleware", "routers", "server", "services")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bos\.environ|\bgetenv\b", path.read_text())
    }
    # The launcher passes on its own environment; prometheus-client reads its directory from there.
    assert readers == {"server/launcher.py", "server/observability/shared_metrics.py"}


def test_settings_can_be_imported_by_name() -> None:
    code = "from config import get_settings, settings; assert settings is get_settings()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_architecture_document_names_every_package() -> None:
    named = set(re.findall(r"`([\w/]+)/`", (ROOT / "docs" / "architecture.md").read_text()))
    folders = [folder for folder in ROOT.iterdir() if (folder / "__init__.py").exists() and folder.name != "tests"]
    packages = {path.parent.relative_to(ROOT).as_posix() for folder in folders for path in folder.rglob("__init__.py")}
    assert packages - named == set()


def test_the_files_and_folders_in_the_architecture_document_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = [ROOT / name for name in (*OURS - {"config", "main"}, "docs")]
    for name in re.findall(r"`([\w./]+(?:\.(?:py|md|toml)|/))`", text):
        found = (ROOT / name).exists() or any(path for folder in folders for path in folder.rglob(name.strip("/")))
        assert found, name
