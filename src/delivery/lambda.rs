//! Lambda delivery: names of functions, in every build, and their invocation, where it was not left out.

pub mod function_name;
#[cfg(feature = "lambda")]
mod invoke;

#[cfg(feature = "lambda")]
pub use invoke::Lambda;
