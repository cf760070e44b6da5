//! Of the room `doctor` what reads answers and certificates.

#[path = "../../src/core/doctor/answer.rs"]
pub mod answer;
#[path = "../../src/core/doctor/certificate.rs"]
pub mod certificate;
#[path = "../../src/core/doctor/info.rs"]
pub mod info;
