# Started by the pod. The default user may do everything, with each of the passwords there are: the
# one in use and, while it is rotated, the one beside it.
set -- --user default on '~*' '&*' +@all ">$REDIS_PASSWORD"
for other in "${NEXT_REDIS_PASSWORD:-}" "${PREVIOUS_REDIS_PASSWORD:-}"; do
  [ -z "$other" ] || set -- "$@" ">$other"
done
exec redis-server /etc/payment/redis/redis.conf "$@"
