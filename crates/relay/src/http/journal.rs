use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;

/// One line and one count a request, by its route: a path or a query may hold what a log must not.
pub(super) async fn request(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "file".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    metrics::counter!("tautline_http_requests_total", "status" => status.as_str().to_owned())
        .increment(1);
    tracing::debug!(
        %method,
        route,
        status = status.as_u16(),
        ms = began.elapsed().as_secs_f64() * 1000.0,
        "request"
    );
    response
}
