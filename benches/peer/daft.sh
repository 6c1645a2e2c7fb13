#!/bin/sh
# picsift beside Daft and a plain Python loop: see lite0_compare.py. The packages go into target/peer-venv.
#
#     cargo build --release && benches/peer/daft.sh [--rows N] [--rounds N] [--picsift PROGRAM]
set -eu
cd "$(dirname "$0")/../.."
venv=target/peer-venv
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r benches/peer/requirements-daft.txt
exec "$venv/bin/python" benches/peer/lite0_compare.py "$@"
