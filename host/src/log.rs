//! stub
/// r
#[derive(Clone, Debug)]
pub struct Receipt;
/// e
#[derive(Clone, Debug)]
pub struct AppendError;
