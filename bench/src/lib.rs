//! What the benchmark and the programs that it starts share: figures, and processes as the kernel
//! sees them.

#![expect(
    clippy::float_arithmetic,
    reason = "figures are ratios; no amount of money is computed here"
)]

pub mod figures;
pub mod process;
