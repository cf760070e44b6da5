//! Which request goes to which call, and how an answer is written. Filters only; nothing is decided here.

use std::convert::Infallible;

use futures_util::stream;
use tokio::sync::watch;
use warp::http::header::{ALLOW, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::Api;
use super::calls::{Call, Face, PeerCall, Route, route};
use super::error::Failure;
use super::handlers::{self, Answer, Body, Query};
use super::peer;
use crate::core::log::{self, SnapshotFile};

/// The largest body that a call may have. No call needs one.
pub(super) const BODY_BYTES_MAX: usize = 16 << 10;

/// What an address serves, and how what has no end of its own gets one.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Which calls.
    pub face: Face,
    /// Bodies without end stop when this is true.
    pub stop: watch::Receiver<bool>,
}

/// All routes.
pub fn all(api: Api, serving: Serving) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    let small = warp::body::content_length_limit(BODY_BYTES_MAX as u64)
        .or(no_body())
        .unify();
    small
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::<Query>())
        .and_then(move |method: Method, path: FullPath, query: Query| {
            let (api, serving) = (api.clone(), serving.clone());
            async move {
                Ok::<Response, Rejection>(answer(&method, path.as_str(), &query, &api, &serving).await)
            }
        })
        .recover(refuse)
}

async fn answer(method: &Method, path: &str, query: &Query, api: &Api, serving: &Serving) -> Response {
    let call = match route(method.as_str(), path, &api.metrics_path, serving.face) {
        Route::To(call) => call,
        Route::ToPeer(PeerCall::Log) => return peer_log(query, api, serving),
        Route::ToPeer(call) => return written(peer_to_the_end(call, query.clone(), api.clone()).await),
        Route::OtherMethod(allowed) => return wrong_method(&allowed),
        Route::Nowhere => {
            let failure = Failure::new(
                404,
                format!("there is no {path}"),
                "GET /openapi.yaml lists the calls",
            );
            return refused(&failure);
        }
    };
    let answered = match call.changes() {
        false => handlers::answer(call, query, api).await,
        true => to_the_end(call, query.clone(), api.clone()).await,
    };
    written(answered)
}

fn written(answered: Result<Answer, Failure>) -> Response {
    match answered {
        Ok(answer) => success(answer),
        Err(failure) => refused(&failure),
    }
}

/// A connection that ends takes its handler with it, but not this one: nothing may stop half-way that changes something.
async fn to_the_end(call: Call, query: Query, api: Api) -> Result<Answer, Failure> {
    let task = tokio::spawn(async move { handlers::answer(call, &query, &api).await });
    ended(task, call).await
}

/// The same of a call that a member makes.
async fn peer_to_the_end(call: PeerCall, query: Query, api: Api) -> Result<Answer, Failure> {
    let task = tokio::spawn(async move { peer::answer(call, &query, &api).await });
    ended(task, call).await
}

async fn ended(
    task: tokio::task::JoinHandle<Result<Answer, Failure>>,
    call: impl std::fmt::Debug,
) -> Result<Answer, Failure> {
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, ?call, "a call of the API ended badly");
        Err(Failure::new(
            500,
            "the call ended badly",
            "please report this with the daemon's traces",
        ))
    })
}

fn success(answer: Answer) -> Response {
    let mut response = match answer.body {
        Body::Text(text) => Response::new(text.into()),
        Body::File(file) => download(file),
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}

fn refused(failure: &Failure) -> Response {
    let mut response = Response::new(failure.to_json().into());
    *response.status_mut() = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn wrong_method(allowed: &str) -> Response {
    let hint = format!("this path takes {allowed}; GET /openapi.yaml lists the calls");
    let mut response = refused(&Failure::new(405, "this path has another method", hint));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// A follower that goes away is noticed by the write that fails; one that does not read, by the limit of a write.
fn peer_log(query: &Query, api: &Api, serving: &Serving) -> Response {
    let frames = match peer::log(query, api, serving.stop.clone()) {
        Ok(frames) => frames,
        Err(failure) => return refused(&failure),
    };
    let mut response = warp::reply::stream(frames).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// The file as it is read. Where reading fails the connection ends before the announced length, so that nobody takes a part for the whole.
fn download(file: SnapshotFile) -> Response {
    let len = file.len_bytes();
    let name = format!("attachment; filename=\"{}.rdb\"", file.position.offset);
    let pieces = stream::try_unfold((file, 0), |(file, at)| async move {
        let read = tokio::task::spawn_blocking(move || file.read(at).map(|bytes| (bytes, file)));
        let (bytes, file) = read.await.unwrap_or(Err(log::Error::ShutDown))?;
        let next = at + bytes.len() as u64;
        Ok::<_, log::Error>((!bytes.is_empty()).then_some((bytes, (file, next))))
    });
    let mut response = warp::reply::stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    response
}

/// A request without a body need not say so. One in chunks has been read before it comes here.
fn no_body() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::header::optional::<u64>("content-length")
        .and_then(|length: Option<u64>| async move {
            match length {
                None => Ok(()),
                Some(_) => Err(warp::reject::reject()),
            }
        })
        .untuple_one()
}

/// The refusal of a body.
pub(super) fn too_large() -> Failure {
    Failure::new(413, "the body is too large", "no call of this API needs a body")
}

/// What did not even come to the table of calls.
async fn refuse(rejection: Rejection) -> Result<Response, Infallible> {
    let failure = if rejection.find::<warp::reject::PayloadTooLarge>().is_some()
        || rejection.find::<warp::reject::LengthRequired>().is_some()
    {
        too_large()
    } else {
        Failure::new(
            400,
            "the query cannot be read",
            "write it as key=value&key=value, percent-encoded",
        )
    };
    Ok(refused(&failure))
}
