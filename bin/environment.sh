# Sourced by the scripts beside it: makes .venv in the checkout, once, and names its Python.
#
#   environment EXTRA    installs the package, editable, with the extra; does nothing when
#                        that was done for this state of setup.py and what it compiles
#
# Set SESSIONCORE_PYTHON to build on another interpreter (3.11 or later).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"
python="$venv/bin/python"

fail() {
    echo "sessioncore: $*" >&2
    exit 1
}

interpreter() {
    local name
    for name in ${SESSIONCORE_PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or later is needed; install it or set SESSIONCORE_PYTHON"
}

environment() {
    local extra=$1 base stamp mark="$venv/.sessioncore-$1"
    stamp=$(cat "$root"/{setup.py,pyproject.toml,sessioncore/{_*.h,*/_*.c}} | cksum)
    if [ -x "$python" ] && [ "$(cat "$mark" 2>/dev/null)" = "$stamp $root" ]; then
        return
    fi
    base=$(interpreter) || exit 1
    echo "Making the environment in $venv (once) ..." >&2
    if ! [ -x "$python" ]; then
        "$base" -m venv "$venv" ||
            fail "python3 -m venv failed; on Debian: apt-get install python3-venv"
    fi
    "$python" -m pip install -qq --disable-pip-version-check --editable "$root[$extra]" >&2 ||
        fail "pip could not install the package with [$extra]; see above"
    echo "$stamp $root" >"$mark"
}
