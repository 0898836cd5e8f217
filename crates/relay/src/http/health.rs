use super::App;
use crate::Fatal;
use crate::config::{Config, DataDir, Durability};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The recorder of this process.
pub(crate) fn install_metrics(config: &Config) -> Result<PrometheusHandle, Fatal> {
    let seconds = [
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ];
    let counts = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
    let cannot = |error: metrics_exporter_prometheus::BuildError| {
        Fatal::new(format!("metrics cannot be kept: {error}"))
    };
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("tautline_commit_batch".into()), &counts)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("tautline_batch_events".into()), &counts)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(cannot)?;
    let store = if config.data_dir == DataDir::Memory {
        "memory"
    } else {
        "sqlite"
    };
    let durability = match (&config.data_dir, config.durability) {
        (DataDir::Memory, _) => "none",
        (_, Durability::Full) => "full",
        (_, Durability::Normal) => "normal",
    };
    metrics::gauge!("tautline_store_info", "store" => store, "durability" => durability).set(1.0);
    Ok(handle)
}

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// New clients are welcome, and what they write can be stored.
pub(super) async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let writable = app
        .shard
        .get(|shard| shard.is_writable())
        .await
        .unwrap_or(false);
    if !app.is_stopping() && writable {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

/// Prometheus text.
pub(super) async fn metrics(State(app): State<App>) -> String {
    app.shard.get(|shard| shard.measure()).await;
    app.metrics.run_upkeep();
    app.metrics.render()
}
