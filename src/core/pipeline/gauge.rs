//! The source's own offset, asked for once a second on a connection of its own: a gauge, so that the lag is that behind the source and
//! not only behind what has been received.

use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::core::net::Endpoint;
use crate::core::progress::Progress;
use crate::core::source::handshake::SourceInfo;

const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks for ever; the caller ends it. Where the source cannot be asked the gauge stands still, and the link says why.
pub async fn watch(endpoint: Endpoint, progress: Arc<Progress>) {
    loop {
        if let Err(error) = ask_while_it_answers(&endpoint, &progress).await {
            tracing::debug!(%error, "the source's offset could not be read");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn ask_while_it_answers(endpoint: &Endpoint, progress: &Progress) -> redis::RedisResult<()> {
    let client = redis::Client::open(connection_info(endpoint)?)?;
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_LIMIT))
        .set_response_timeout(Some(ANSWER_LIMIT));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    loop {
        let text: String = redis::cmd("INFO")
            .arg("replication")
            .query_async(&mut connection)
            .await?;
        if let Some(offset) = SourceInfo::parse(&text).offset {
            progress.set_source_offset(offset);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn connection_info(endpoint: &Endpoint) -> redis::RedisResult<ConnectionInfo> {
    let address = ConnectionAddr::Tcp(endpoint.address.host.clone(), endpoint.address.port);
    let mut login = RedisConnectionInfo::default();
    if !endpoint.credentials.user.is_empty() {
        login = login.set_username(&endpoint.credentials.user);
    }
    if !endpoint.credentials.password.is_empty() {
        login = login.set_password(&endpoint.credentials.password);
    }
    Ok(address.into_connection_info()?.set_redis_settings(login))
}
