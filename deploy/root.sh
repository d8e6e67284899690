#!/bin/sh
# Lays out the image's whole file system.   deploy/root.sh BINARY DIR
# The binary, the libraries that it is linked to, certificates of authorities and a user without rights; no shell and no
# package manager. CI runs the binary in a root that this script made, so that what is missing there is found there.
set -eu
binary=$1 dir=$2
mkdir -p "$dir/etc/ssl/certs" "$dir/var/lib/dpkg/status.d"
install -m 755 "$binary" "$dir/hookferry"
libraries=$(ldd "$binary" | sed -nE 's/^[^/]*(\/[^ ]+) \(0x[0-9a-f]+\)$/\1/p')
for library in $libraries; do
  mkdir -p "$dir${library%/*}"
  cp -L "$library" "$dir$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/"
echo 'hosts: files dns' >"$dir/etc/nsswitch.conf"
echo 'nonroot:x:65532:65532:nonroot:/:/nonexistent' >"$dir/etc/passwd"
echo 'nonroot:x:65532:' >"$dir/etc/group"
# Which Debian packages these files are of, where scanners for vulnerabilities look for it.
for package in libc6 libgcc-s1 ca-certificates; do
  dpkg-query --status "$package" >"$dir/var/lib/dpkg/status.d/$package"
done
