# Sourced by ./test, ./traps and .ci/run: how a missing command of the system is found and mended.

# die MESSAGE: ends the script with the reason.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need "CHECK" "PACKAGES" "REASON": makes sure that the command line CHECK works. Root on a Debian
# gets the packages installed; everybody else is told what to install.
need() {
    local check=$1 packages=$2 reason=$3
    $check >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        printf '==> install %s (%s)\n' "$packages" "$reason"
        apt-get -qq update
        # shellcheck disable=SC2086 # A list of packages.
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages >/dev/null
    fi
    $check >/dev/null 2>&1 ||
        die "\`$check\` does not work, and it is needed: $reason. On Debian: apt-get install $packages"
}

# need_cargo: finds cargo, also where rustup puts it but the shell does not look, and compares it with
# what the packages ask for. It is never installed here: which Rust is the user's choice.
need_cargo() {
    local least found
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' crates/*/Cargo.toml | sort -V | tail -n 1)
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || true
    [ -n "$found" ] || die "cargo is missing. Install Rust $least or newer: https://rustup.rs"
    [ "$(printf '%s\n' "$least" "$found" | sort -V | head -n 1)" = "$least" ] ||
        die "cargo $found is too old. Install Rust $least or newer: https://rustup.rs"
}

# Prints where the newest server has its programs.
find_postgres() {
    local found
    found=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [ -x "$found/initdb" ] || found=$(pg_config --bindir 2>/dev/null)
    [ -x "$found/initdb" ] && printf '%s\n' "$found"
}
