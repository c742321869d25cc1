#!/bin/sh
# Installs the C library that `cargo build --release` has built:
#
#   PREFIX/lib/libunix_ss.so.VERSION, with links libunix_ss.so.0 and libunix_ss.so
#   PREFIX/lib/libunix_ss.a
#   PREFIX/lib/pkgconfig/unix-ss.pc
#   PREFIX/include/unix-stream-server.h
#
# Usage: install.sh [PREFIX]               PREFIX: /usr/local unless given; absolute
#        install.sh --uninstall [PREFIX]
#
# It builds nothing, so that it can be run as root. Where the build has put the libraries elsewhere than in
# target/release (CARGO_TARGET_DIR, --target), say so: BUILT=DIR install.sh ...
# For packagers: DESTDIR, if set, goes before PREFIX; LIBDIR is where in PREFIX the libraries go, lib unless given
# (lib/x86_64-linux-gnu, lib64).
set -eu

fail() {
    echo "install.sh: $1" >&2
    exit "$2"
}

uninstall=
if [ "${1-}" = --uninstall ]; then
    uninstall=yes
    shift
fi
prefix=${1-/usr/local}
for dir in "$prefix" "${DESTDIR-/}"; do
    case $dir in
        -*)
            sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
            exit 2
            ;;
        *[!A-Za-z0-9/._+@:,~=-]*) fail "'$dir' has characters that pkg-config or the shell would mistake" 2 ;;
        /*) ;;
        *) fail "PREFIX and DESTDIR must be absolute, not '$dir'" 2 ;;
    esac
done
libdir=${LIBDIR-lib}
case $libdir in
    "" | /* | *[!A-Za-z0-9/._+-]*) fail "LIBDIR must be relative to PREFIX, not '$libdir'" 2 ;;
esac
lib=${DESTDIR-}$prefix/$libdir
include=${DESTDIR-}$prefix/include

if [ -n "$uninstall" ]; then
    rm -f "$lib"/libunix_ss.so.0.*.* "$lib/libunix_ss.so.0" "$lib/libunix_ss.so" "$lib/libunix_ss.a" \
        "$lib/pkgconfig/unix-ss.pc" "$include/unix-stream-server.h"
    exit 0
fi

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
built=${BUILT-$here/../../target/release}
header=$here/include/unix-stream-server.h
for file in "$built/libunix_ss.so" "$built/libunix_ss.a"; do
    [ -f "$file" ] || fail "there is no $file; run 'cargo build --release' first" 1
done
version=$(sed -n 's/^#define UNIX_SS_VERSION "\(.*\)"$/\1/p' "$header")

# Removed first, so that a program that runs keeps the library that it has mapped.
mkdir -p "$lib/pkgconfig" "$include"
rm -f "$lib/libunix_ss.so.$version" "$lib/libunix_ss.a"
cp "$built/libunix_ss.so" "$lib/libunix_ss.so.$version"
cp "$built/libunix_ss.a" "$lib/libunix_ss.a"
cp "$header" "$include/unix-stream-server.h"
sed -e "s|@PREFIX@|$prefix|" -e "s|@LIBDIR@|$libdir|" -e "s|@VERSION@|$version|" "$here/unix-ss.pc.in" >"$lib/pkgconfig/unix-ss.pc"
chmod 644 "$lib/libunix_ss.a" "$lib/pkgconfig/unix-ss.pc" "$include/unix-stream-server.h"
chmod 755 "$lib/libunix_ss.so.$version"
ln -sf "libunix_ss.so.$version" "$lib/libunix_ss.so.0"
ln -sf libunix_ss.so.0 "$lib/libunix_ss.so"

echo "installed libunix_ss $version in $lib and $include"
if [ -z "${DESTDIR-}" ] && [ "$(id -u)" -eq 0 ]; then
    ldconfig 2>/dev/null || true # where the directory is one that the dynamic linker searches
fi
