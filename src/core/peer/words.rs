//! What a leader's refusal says. Without I/O.

/// Its `error`; all of it where it is no JSON, or has none.
#[must_use]
pub fn words(said: &[u8]) -> String {
    let told: Option<serde_json::Value> = serde_json::from_slice(said).ok();
    let error = told.as_ref().and_then(|told| told["error"].as_str());
    error.map_or_else(|| String::from_utf8_lossy(said).into_owned(), str::to_owned)
}
