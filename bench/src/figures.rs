//! Figures: medians of rounds, printed one a line.

/// Prints `name value unit`.
pub fn print(name: &str, value: f64, unit: &str) -> anyhow::Result<()> {
    anyhow::ensure!(value.is_finite(), "{name} could not be measured");
    println!("{name} {value:.3} {unit}");
    Ok(())
}

/// Prints `name value unit` of something that is counted.
pub fn print_whole(name: &str, value: u64, unit: &str) {
    println!("{name} {value} {unit}");
}

/// Prints the median of the rounds' values, and a comment with their spread.
pub fn print_rounds(name: &str, values: &[f64], unit: &str) -> anyhow::Result<()> {
    print(name, median(values.to_vec()), unit)?;
    let least = values.iter().copied().min_by(f64::total_cmp);
    let most = values.iter().copied().max_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (least, most) {
        println!(
            "#   {name}: {least:.3} to {most:.3} over {} rounds",
            values.len()
        );
    }
    Ok(())
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// The value that `share` of the sorted values stay below; `NaN` of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list that is in memory"
    )]
    let index = (last as f64 * share).round() as usize;
    sorted[index.min(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let sorted: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!((quantile(&sorted, 0.99) - 99.0).abs() < 1e-9);
        assert!((quantile(&sorted, 0.5) - 50.0).abs() < 1e-9);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
