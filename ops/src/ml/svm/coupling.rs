//! From how sure each pair of classes is of itself to how likely each class is.

/// The least and greatest certainty of one class over another.
const CERTAINTY: (f64, f64) = (1e-7, 1.0 - 1e-7);

/// The probabilities p of `count` classes, at least two, for which r(i, j) ≈ pᵢ / (pᵢ + pⱼ), r being how sure class i is
/// against class j. Pairs come as (0, 1), (0, 2), …, (1, 2), …
///
/// This is the second method of Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise
/// Coupling" (2004), in the form of their algorithm 2: minimise pᵀQp with Qᵢᵢ = Σⱼ r(j, i)², Qᵢⱼ = −r(j, i)·r(i, j).
pub fn coupled(count: usize, pairs: &[f64]) -> Vec<f64> {
    let quadratic = quadratic(count, pairs);
    let row = |i: usize| &quadratic[i * count..(i + 1) * count];
    let enough = 0.005 / count as f64;
    let mut p = vec![1.0 / count as f64; count];
    for _ in 0..count.max(100) {
        let mut products: Vec<f64> = (0..count).map(|i| row(i).iter().zip(&p).map(|(q, p)| q * p).sum()).collect();
        let mut whole: f64 = p.iter().zip(&products).map(|(p, product)| p * product).sum();
        if products.iter().all(|product| (product - whole).abs() < enough) {
            break;
        }
        for i in 0..count {
            let q = row(i)[i];
            let step = (whole - products[i]) / q;
            let scale = 1.0 + step;
            p[i] += step;
            whole = (whole + step * (step * q + 2.0 * products[i])) / (scale * scale);
            for j in 0..count {
                products[j] = (products[j] + step * row(i)[j]) / scale;
                p[j] /= scale;
            }
        }
    }
    p
}

/// The matrix Q.
fn quadratic(count: usize, pairs: &[f64]) -> Vec<f64> {
    let mut quadratic = vec![0.0; count * count];
    let all_pairs = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
    for ((i, j), &certainty) in all_pairs.zip(pairs) {
        let certainty = certainty.clamp(CERTAINTY.0, CERTAINTY.1);
        let opposite = 1.0 - certainty;
        quadratic[i * count + i] += opposite * opposite;
        quadratic[j * count + j] += certainty * certainty;
        quadratic[i * count + j] = -certainty * opposite;
        quadratic[j * count + i] = -certainty * opposite;
    }
    quadratic
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn consistent_pairs_give_back_their_probabilities() {
        let expected = [0.5, 0.3, 0.2];
        let against = |i: usize, j: usize| expected[i] / (expected[i] + expected[j]);
        let p = coupled(3, &[against(0, 1), against(0, 2), against(1, 2)]);
        for (got, expected) in p.iter().zip(expected) {
            assert_relative_eq!(*got, expected, epsilon = 5e-3);
        }
    }

    #[test]
    fn two_classes_share_all() {
        let p = coupled(2, &[0.9]);
        assert_relative_eq!(p[0], 0.9, epsilon = 2e-3);
        assert_relative_eq!(p[0] + p[1], 1.0, epsilon = 1e-9);
        assert!(coupled(2, &[f64::NAN]).len() == 2);
    }
}
