use super::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// New clients are welcome, and what they write can be stored.
pub(super) async fn readyz(State(app): State<App>) -> impl IntoResponse {
    if is_ready(&app).await {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

pub(super) async fn is_ready(app: &App) -> bool {
    let writable = app.shard.get(|shard| shard.is_writable()).await;
    !app.is_leaving() && writable.unwrap_or(false)
}

/// Prometheus text.
pub(super) async fn metrics(State(app): State<App>) -> String {
    app.shard.get(|shard| shard.measure()).await;
    metrics::gauge!("tautline_ready").set(f64::from(u8::from(is_ready(&app).await)));
    crate::measures::measure_process();
    app.metrics.run_upkeep();
    app.metrics.render()
}
