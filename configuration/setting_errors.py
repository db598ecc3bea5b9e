"""Messages about settings whose values are invalid."""

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

MAX_SHOWN_LENGTH = 200
EXPECTED = {
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "less_than_equal": "at most {le}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
}
"""What is expected, by the type of pydantic's error; for other types, pydantic's own message says it."""


def setting_error(field: FieldInfo, error: ErrorDetails) -> str:
    """Return one line that names the variable, its value unless that is a secret, and what is expected."""
    name, value = str(error["loc"][0]).upper(), error["input"]
    # commas alone are shown: they are no secret, but the fault
    is_secret = "SecretStr" in str(field.annotation) and str(value).strip(", ") != ""
    shown = "a secret" if is_secret else repr(_without_credentials(value))[:MAX_SHOWN_LENGTH]
    if template := EXPECTED.get(error["type"]):
        expected = template.format(**error.get("ctx", {}))
    else:
        expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    # the description of a setting with fixed values would list them once more
    description = "" if error["type"] == "literal_error" else f" {field.description}"
    return f"{name} got {shown}, expected {expected}.{description}"


def _without_credentials(value: object) -> object:
    """Remove everything up to the last `@`: in an invalid URL, that may be a user and a password."""
    return value.rpartition("@")[2] if isinstance(value, str) else value
