#!/bin/sh
# Print the supported Pythons, oldest first: a version, and the interpreter if one is found on the PATH or in pyenv.
for version in 3.11 3.12 3.13 3.14; do
    found=
    for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version"*"/bin/python$version"; do
        found=$("$python" -c "
import ensurepip, sys, venv
if sys.version_info[:2] == (3, ${version#3.}):
    print(sys.executable)" 2>/dev/null) && [ -n "$found" ] && break
    done
    echo "$version $found"
done
