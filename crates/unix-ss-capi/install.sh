#!/bin/sh
# Builds the C library and installs it:
#
#   PREFIX/lib/libunix_ss.so.VERSION, with links libunix_ss.so.0 and libunix_ss.so
#   PREFIX/lib/libunix_ss.a
#   PREFIX/lib/pkgconfig/unix-ss.pc
#   PREFIX/include/unix-stream-server.h
#
# Usage: install.sh [PREFIX]          PREFIX: /usr/local unless given; absolute
#        install.sh --uninstall [PREFIX]
#
# DESTDIR, if set, goes before PREFIX, for packagers. CARGO and RUSTC choose the tools, CARGO_TARGET_DIR where is built.
set -eu

uninstall=
if [ "${1-}" = --uninstall ]; then
    uninstall=yes
    shift
fi
prefix=${1-/usr/local}
case $prefix in
    -*)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
    /*) ;;
    *)
        echo "install.sh: PREFIX must be absolute, not '$prefix'" >&2
        exit 2
        ;;
esac
lib=${DESTDIR-}$prefix/lib
include=${DESTDIR-}$prefix/include

if [ -n "$uninstall" ]; then
    rm -f "$lib"/libunix_ss.so.0.*.* "$lib/libunix_ss.so.0" "$lib/libunix_ss.so" "$lib/libunix_ss.a" \
        "$lib/pkgconfig/unix-ss.pc" "$include/unix-stream-server.h"
    exit 0
fi

# Where the files come from, before the build may have its own working directory.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${CARGO:-cargo}" build --release --locked --package unix-ss-capi
built=${CARGO_TARGET_DIR:-target}/release
version=$("${CARGO:-cargo}" pkgid --locked --package unix-ss-capi | sed 's/.*[@#]//')

# What a static link needs besides: just what Rust's standard library does.
: >"$scratch/empty.rs"
(cd "$scratch" && "${RUSTC:-rustc}" --crate-type=staticlib --print=native-static-libs=libraries empty.rs 2>log) || {
    cat "$scratch/log" >&2
    exit 1
}
sed -e "s|@PREFIX@|$prefix|" -e "s|@VERSION@|$version|" -e "s|@LIBS_PRIVATE@|$(cat "$scratch/libraries")|" \
    "$here/unix-ss.pc.in" >"$scratch/unix-ss.pc"

# Removed first, so that a program that runs keeps the library that it has mapped.
mkdir -p "$lib/pkgconfig" "$include"
rm -f "$lib/libunix_ss.so.$version" "$lib/libunix_ss.a"
cp "$built/libunix_ss.so" "$lib/libunix_ss.so.$version"
cp "$built/libunix_ss.a" "$lib/libunix_ss.a"
cp "$scratch/unix-ss.pc" "$lib/pkgconfig/unix-ss.pc"
cp "$here/include/unix-stream-server.h" "$include/unix-stream-server.h"
chmod 644 "$lib/libunix_ss.a" "$lib/pkgconfig/unix-ss.pc" "$include/unix-stream-server.h"
chmod 755 "$lib/libunix_ss.so.$version"
ln -sf "libunix_ss.so.$version" "$lib/libunix_ss.so.0"
ln -sf libunix_ss.so.0 "$lib/libunix_ss.so"

echo "installed libunix_ss $version in $lib and $include"
if [ -z "${DESTDIR-}" ] && [ "$(id -u)" -eq 0 ]; then
    ldconfig 2>/dev/null || true # where the directory is one that the dynamic linker searches
fi
