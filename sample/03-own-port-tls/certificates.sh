#!/bin/sh
# Creates a CA and certificates of a server and a client for testing: certificates/*.pem, *.key
set -eu
mkdir -p "$(dirname "$0")/certificates"
cd "$(dirname "$0")/certificates"
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30'
openssl req -x509 $new -subj /CN=ca -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
for name in server anna; do
  openssl req -x509 $new -subj "/CN=$name" -addext basicConstraints=critical,CA:FALSE \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -CA ca.pem -CAkey ca.key -keyout "$name.key" -out "$name.pem"
done
