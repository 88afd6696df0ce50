# Run before the coordinator: what the database is verified by, as a key store that Java reads. The
# tool takes one certificate at a time, and an authority that is replaced has two for a while.
set -eu
umask 077
cd /trust
rm -f mysql.p12 certificate-*
number=0
inside=
while IFS= read -r line || [ -n "$line" ]; do
  case "$line" in *'BEGIN CERTIFICATE'*) inside=yes number=$((number + 1)) ;; esac
  [ -z "$inside" ] || printf '%s\n' "$line" >> "certificate-$number"
  case "$line" in *'END CERTIFICATE'*) inside= ;; esac
done < /etc/payment/mysql-ca/ca.crt
if [ "$number" = 0 ]; then
  echo 'the authority of mysql has no certificate in PEM' >&2
  exit 1
fi
while [ "$number" -gt 0 ]; do
  keytool -importcert -noprompt -alias "authority-$number" -file "certificate-$number" \
    -keystore mysql.p12 -storetype PKCS12 -storepass changeit
  number=$((number - 1))
done
