"""Parsing of `.env` files: invalid lines are errors; and which files are read."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import config
from config import Settings, get_settings
from configuration.dotenv_file import DotenvError, nearest_setting, read_dotenv, unknown_names

REPOSITORY = Path(__file__).parent.parent.parent
FIELDS = Settings.model_fields


@pytest.fixture(autouse=True)
def _only_this_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENV_FILE", str(tmp_path / ".env"))
    get_settings.cache_clear()


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def startup_error(env_file: Path, content: str | bytes) -> str:
    """Write the file and return the one-line error that stops the start."""
    env_file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SystemExit) as caught:
        get_settings()
    line = str(caught.value)
    assert "\n" not in line
    assert "hush" not in line
    return line


UNPARSABLE = [
    ('API_KEYS="hush1","hush2"', 1, "text after the closing quote of API_KEYS"),
    ("\n\n# keys\nAPI_KEYS='hush1', 'hush2'\n", 4, "text after the closing quote of API_KEYS"),
    ('export API_KEYS="hush1" "hush2"', 1, "text after the closing quote of API_KEYS"),
    ('MAX_TOKENS=1\nAPI_KEYS="hush', 2, "the quote after API_KEYS= is not closed"),
    ("API_KEYS='hush", 1, "the quote after API_KEYS= is not closed"),
    ('API_KEYS="hush\nTOP_P="0.5"', 1, "the quote after API_KEYS= is not closed"),
    ('API_KEYS="hush\nTOP_P=0.5"', 1, "the quote after API_KEYS= is not closed"),
    ('OTHER="hush\nAPI_KEYS=hush\nANOTHER=1"', 1, "the quote after OTHER= is not closed"),
    ('OTHER="hush\nexport API_KEY = hush\nANOTHER=1"', 1, "the quote after OTHER= is not closed"),
    ("API_KEYS: hush", 1, "expected NAME=value"),
    ("API_KEYS:", 1, "expected NAME=value"),
    ("API_KEYS", 1, "expected NAME=value"),
    ("export API_KEYS", 1, "expected NAME=value"),
    ("set API_KEYS=hush", 1, "expected NAME=value"),
    ("- API_KEYS=hush", 1, "expected NAME=value"),
    ('"API_KEYS"=hush', 1, "expected NAME=value"),
    ("{hush}=1", 1, "expected NAME=value"),
    ("TOP_P=0.5\r\n\r\nAPI_KEYS: hush\r\n", 3, "expected NAME=value"),
    ("=hush", 1, "expected NAME=value"),
    ("API_KEYS=${HUSHED}", 1, "API_KEYS contains ${…}, which is not expanded"),
    ('API_KEYS="a$${word}"', 1, "API_KEYS contains ${…}, which is not expanded"),
    ("API_KEYS=hush1\nTOP_P=0.5\nAPI_KEYS=hush2", 3, "API_KEYS is already set to another value in line 1"),
    ("API_KEYS=hush\nAPI_KEYS=", 2, "API_KEYS is already set to another value in line 1"),
    ("API_KEYS=hush\napi_keys=hush2", 2, "api_keys is already set to another value in line 1"),
    ("API_KEYS=hush\0", 1, "a NUL byte"),
    ("TOP_P=0.5\nAPI_KEYS=hüsh".encode("latin-1"), 2, "not UTF-8"),
    ("API_KEYS=hush".encode("utf-16"), 1, "UTF-16"),
    (b"\xfe\xff" + "API_KEYS=hush".encode("utf-16-be"), 1, "UTF-16"),
    ("API_KEYS=hush".encode("utf-16-le"), 1, "a NUL byte"),
]


@pytest.mark.parametrize(("content", "line", "what"), UNPARSABLE)
def test_a_line_that_cannot_be_parsed_stops_the_start(
    env_file: Path, content: str | bytes, line: int, what: str
) -> None:
    assert startup_error(env_file, content).startswith(f"{env_file} line {line}: {what}")


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ("API_KEYS=one", ["one"]),
        ("API_KEYS=one,two", ["one", "two"]),
        ("API_KEYS = one , two", ["one", "two"]),
        ('API_KEYS="one,two"', ["one", "two"]),
        ("export API_KEYS='one'", ["one"]),
        ("api_keys=one", ["one"]),
        ("\ufeffAPI_KEYS=one", ["one"]),
        ("API_KEYS=one\r\nTOP_P=0.5\r\n", ["one"]),
        ("API_KEYS=one # two", ["one"]),
        ("API_KEYS=one#two", ["one#two"]),
        ("API_KEYS=pa$word", ["pa$word"]),
        ("API_KEYS='pa$${word}'", ["pa$${word}"]),
        ("API_KEYS=one\nAPI_KEYS=one", ["one"]),
        ("# API_KEYS=two\n\n  API_KEYS=one", ["one"]),
        ('KEY="-----BEGIN\nabc=\n-----END"\nAPI_KEYS=one', ["one"]),
        ("OTHER=a\nOTHER=b\nOTHER=${X}\nAPI_KEYS=one", ["one"]),
        ("API_KEYS=\nTOP_P=0.5", []),
        ('API_KEYS=""', []),
        ("API_KEYS= # none", []),
        ("", []),
    ],
)
def test_valid_files_are_read(env_file: Path, content: str, keys: list[str]) -> None:
    env_file.write_bytes(content.encode())
    assert [key.get_secret_value() for key in get_settings().api_keys] == keys


@pytest.mark.parametrize(
    "name", ["API_KEY", "APIKEYS", "ApiKey", "API-KEYS", "API_KYES", "OLLAMA_API_KEYS", "ALLOWED_HOST", "ALLOW_HOSTS"]
)
def test_a_misspelt_access_setting_stops_the_start(env_file: Path, name: str) -> None:
    meant = "API_KEYS" if "A" in name and "H" not in name.upper() else "ALLOWED_HOSTS"
    line = startup_error(env_file, f"TOP_P=0.5\n{name}=hush\nAPI_KEYS=")
    assert line == f"{env_file} line 2: {name} is not a setting; rename it to {meant}, or remove it"


def test_a_misspelt_access_setting_is_ignored_if_the_real_one_is_set(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("API_KEY=hush\nAPI_KEYS=one")
    assert len(get_settings().api_keys) == 1
    get_settings.cache_clear()
    env_file.write_text("API_KEY=hush")
    monkeypatch.setenv("API_KEYS", "one")
    assert len(get_settings().api_keys) == 1


def test_names_that_resemble_a_setting_are_reported_one_by_one(env_file: Path) -> None:
    env_file.write_text("OLLAMA_URL=x\nMAX_TOKEN=1\nTOP_P=0.5\n")
    assert unknown_names(env_file, FIELDS) == [
        f"{env_file} line 1: OLLAMA_URL is not a setting; did you mean OLLAMA_BASE_URL?",
        f"{env_file} line 2: MAX_TOKEN is not a setting; did you mean MAX_TOKENS?",
    ]


def test_other_unknown_names_are_reported_together(env_file: Path) -> None:
    env_file.write_text("PROT=9\nOPENAI_API_KEY=hush\nMAX_TOKEN=1\nDATABASE_URL=x\nTOP_P=0.5\n")
    near, others = unknown_names(env_file, FIELDS)
    assert "MAX_TOKEN is not a setting" in near
    assert others == f"{env_file}: not settings of this service, ignored: PROT, OPENAI_API_KEY, DATABASE_URL"


def test_a_long_list_of_unknown_names_is_shortened(env_file: Path) -> None:
    env_file.write_text("".join(f"UNKNOWN_{number}=1\n" for number in range(300)))
    (warning,) = unknown_names(env_file, FIELDS)
    assert warning.endswith("UNKNOWN_18, UNKNOWN_19 and 280 more")


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "DATABASE_URL", "NODE_ENV", "PATH", "NEXT_PUBLIC_API_URL"])
def test_names_of_other_programs_resemble_no_setting(name: str) -> None:
    assert nearest_setting(name, FIELDS) is None


def test_a_directory_in_place_of_the_file_stops_the_start(env_file: Path) -> None:
    env_file.mkdir()
    with pytest.raises(SystemExit, match=r"\.env cannot be read: Is a directory"):
        get_settings()


def test_a_broken_link_stops_the_start(env_file: Path) -> None:
    env_file.symlink_to(env_file.with_name("gone"))
    with pytest.raises(SystemExit, match="is a link to a file that does not exist"):
        get_settings()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_stops_the_start(env_file: Path) -> None:
    env_file.write_text("API_KEYS=one")
    env_file.chmod(0)
    with pytest.raises(SystemExit, match=r"\.env cannot be read: Permission denied"):
        get_settings()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_to_its_end(env_file: Path) -> None:
    os.mkfifo(env_file)
    writer = threading.Thread(target=env_file.write_text, args=("API_KEYS=one\n",), daemon=True)
    writer.start()
    assert len(get_settings().api_keys) == 1
    writer.join()


def test_the_env_file_argument_is_parsed_as_strictly(env_file: Path) -> None:
    env_file.write_text("API_KEYS: hush")
    with pytest.raises(DotenvError):
        Settings(_env_file=env_file)
    assert Settings(_env_file=None).api_keys == ()


def test_a_missing_file_that_service_env_file_names_stops_the_start(env_file: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        get_settings()
    assert str(caught.value) == f"SERVICE_ENV_FILE names {env_file}, which does not exist"


def test_a_missing_file_has_no_variables(env_file: Path) -> None:
    assert read_dotenv(env_file, FIELDS) == {}


# Location of the file


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the service with a folder of its own."""
    folder = tmp_path / "service"
    ignored = shutil.ignore_patterns(".*", "tests", "docs", "benchmarks", "pages", "__pycache__")
    shutil.copytree(REPOSITORY, folder, ignore=ignored)
    return folder


def settings_of(folder: Path, cwd: Path, **environment: str) -> str:
    """Return HOST, PORT and the number of API keys that the service reads there."""
    code = "from config import get_settings as s; print(s().host, s().port, len(s().api_keys))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout.strip() or ended.stderr.strip()


def test_the_file_next_to_the_code_is_read_from_any_working_directory(copy: Path, tmp_path: Path) -> None:
    (copy / ".env").write_text("API_KEYS=one,two\n")
    assert settings_of(copy, Path("/")) == "127.0.0.1 8000 2"
    assert settings_of(copy, copy) == "127.0.0.1 8000 2"
    (tmp_path / ".env").write_text("PORT=8001\n")
    assert settings_of(copy, tmp_path) == "127.0.0.1 8001 2"


def test_precedence_is_environment_then_working_directory_then_code(copy: Path, tmp_path: Path) -> None:
    (copy / ".env").write_text("HOST=127.0.0.2\nPORT=8001\nAPI_KEYS=one\n")
    (tmp_path / ".env").write_text("PORT=8002\nAPI_KEYS=\n")
    assert settings_of(copy, tmp_path) == "127.0.0.2 8002 1"
    assert settings_of(copy, tmp_path, PORT="8003", API_KEYS="") == "127.0.0.2 8003 1"


def test_a_bad_line_in_either_file_stops_the_start(copy: Path, tmp_path: Path) -> None:
    for folder in (copy, tmp_path):
        (folder / ".env").write_text("API_KEYS: hush")
        assert settings_of(copy, tmp_path).startswith(f"{folder / '.env'} line 1: expected NAME=value")
        (folder / ".env").unlink()


def test_service_env_file_replaces_both_files(copy: Path, tmp_path: Path) -> None:
    for folder in (copy, tmp_path):
        (folder / ".env").write_text("PORT=8001")
    (tmp_path / "named").write_text("PORT=8002")
    assert settings_of(copy, tmp_path, SERVICE_ENV_FILE=str(tmp_path / "named")) == "127.0.0.1 8002 0"
    assert settings_of(copy, tmp_path, SERVICE_ENV_FILE=os.devnull) == "127.0.0.1 8000 0"


def test_a_deleted_working_directory_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_ENV_FILE")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert config.env_files() == (REPOSITORY / ".env",)
    monkeypatch.chdir(tmp_path)
