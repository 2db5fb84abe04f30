//! Requests to witnesses over HTTP, with a limit on everything.

use std::time::Duration;

use ureq::Agent;

use crate::log::Courier;
use crate::tlog::witness::RESPONSE_MAX_BYTES;

/// How long a witness has for an answer, in milliseconds.
pub const WITNESS_WAIT_MAX_MS: u64 = 2_000;

/// Brings requests over HTTPS (or HTTP, since what comes back is signed). Follows no redirection.
#[derive(Clone, Debug)]
pub struct HttpCourier(Agent);

impl Default for HttpCourier {
    fn default() -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_millis(WITNESS_WAIT_MAX_MS)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }
}

impl Courier for HttpCourier {
    fn post(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let posted = self.0.post(url).content_type("text/plain; charset=utf-8");
        let mut response = posted.send(body).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config();
        let body = body.limit(RESPONSE_MAX_BYTES as u64).read_to_vec();
        Ok((status, body.map_err(|error| error.to_string())?))
    }
}
