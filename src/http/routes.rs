//! Which call goes to which handler. Filters only; nothing is decided here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;

use warp::http::{Response, StatusCode};
use warp::hyper::body::Bytes;
use warp::{Filter, Rejection, Reply};

use super::Api;
use super::error::Failure;
use super::handlers::{self, Answer};

/// The largest body that a call may have. No call needs one.
const BODY_MAX_BYTES: u64 = 16 << 10;

/// All routes.
pub fn all(api: Api) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    let metrics_path = api.metrics_path.clone();
    let api = warp::any().map(move || api.clone());
    let query = warp::query::<HashMap<String, String>>();

    let stop = warp::path::end()
        .and(warp::delete())
        .and(api.clone())
        .map(|api| reply(Ok(handlers::stop(&api))));
    let status = warp::path!("syncer" / "status")
        .and(warp::get())
        .and(api.clone())
        .map(|api| reply(Ok(handlers::status(&api))));
    let config = warp::path!("syncer" / "config")
        .and(warp::get())
        .and(query)
        .and(api.clone())
        .map(|query: HashMap<String, String>, api| {
            reply(handlers::config(&api, query.get("format").map(String::as_str)))
        });
    let health = warp::path!("debug" / "health")
        .and(warp::get())
        .map(|| reply(Ok(handlers::health())));
    let ready = warp::path!("debug" / "ready")
        .and(warp::get())
        .and(api.clone())
        .map(|api| reply(handlers::ready(&api)));
    let metrics = warp::path::full()
        .and_then(move |path: warp::path::FullPath| {
            let wanted = path.as_str() == metrics_path;
            async move {
                if wanted {
                    Ok(())
                } else {
                    Err(warp::reject::not_found())
                }
            }
        })
        .untuple_one()
        .and(warp::get())
        .and(api)
        .map(|api| reply(Ok(handlers::metrics(&api))));

    let small = warp::body::content_length_limit(BODY_MAX_BYTES)
        .or(no_body())
        .unify();
    small
        .and(
            stop.or(status)
                .unify()
                .or(config)
                .unify()
                .or(health)
                .unify()
                .or(ready)
                .unify()
                .or(metrics)
                .unify(),
        )
        .recover(refuse)
}

/// Serves until `stopping` resolves; then answers what is under way and ends.
pub async fn serve(
    api: Api,
    listener: tokio::net::TcpListener,
    stopping: impl Future<Output = ()> + Send + 'static,
) {
    warp::serve(all(api))
        .incoming(listener)
        .graceful(stopping)
        .run()
        .await;
}

/// A request without a body need not say so.
fn no_body() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::header::optional::<u64>("content-length")
        .and(warp::header::optional::<String>("transfer-encoding"))
        .and_then(|length: Option<u64>, encoding: Option<String>| async move {
            if length.is_none() && encoding.is_none() {
                Ok(())
            } else {
                Err(warp::reject::reject())
            }
        })
        .untuple_one()
}

fn reply(result: Result<Answer, Failure>) -> Response<Bytes> {
    let (code, content_type, body) = match result {
        Ok(answer) => (200, answer.content_type, answer.body),
        Err(failure) => (failure.code, "application/json", failure.to_json()),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let value = warp::http::HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(warp::http::header::CONTENT_TYPE, value);
    response
}

/// What no route took.
async fn refuse(rejection: Rejection) -> Result<Response<Bytes>, Infallible> {
    let failure = if rejection.find::<warp::reject::PayloadTooLarge>().is_some()
        || rejection.find::<warp::reject::LengthRequired>().is_some()
    {
        Failure::new(413, "the body is too large", "no call of this API needs a body")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        Failure::new(
            405,
            "this route has another method",
            "see the list of calls in README.md",
        )
    } else if rejection.find::<warp::reject::InvalidQuery>().is_some() {
        Failure::new(
            400,
            "the query cannot be read",
            "write it as key=value&key=value, percent-encoded",
        )
    } else {
        Failure::new(
            404,
            "there is no such route",
            "see the list of calls in README.md",
        )
    };
    Ok(reply(Err(failure)))
}
