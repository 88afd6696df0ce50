// Prometheus and promtool, which tests run the alerts with. See prometheus.sh.
module paymentsystem.dev/e2e/cluster/prometheus

go 1.26.7

require github.com/prometheus/prometheus v0.316.0 // indirect
