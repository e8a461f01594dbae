//! The activation functions that recurrent cells name in `activations`.

use planish_ir::{AttributeError, NodeView};
use planish_kernels::elementwise::Unary;

/// The activations of each direction, `defaults.len()` for each of `ways`, with their `activation_alpha` and `activation_beta`,
/// which are given in order to the functions that take them.
pub fn parse(node: &NodeView<'_>, ways: usize, defaults: &[&str]) -> Result<Vec<Vec<Unary>>, AttributeError> {
    let expected = ways * defaults.len();
    let names: Vec<&str> = match node.opt_strings("activations") {
        // The standard's default for `RNN` is two functions whatever the direction, and files may hold it.
        Some(names) if names.len() == expected || (names == ["Tanh"; 2] && expected == 1) => {
            names[..expected].iter().map(String::as_str).collect()
        }
        Some(names) => {
            let message = format!("attribute \"activations\": expected {expected} functions, got {names:?}");
            return Err(AttributeError::invalid(message));
        }
        None => defaults.iter().copied().cycle().take(expected).collect(),
    };
    let mut alphas = node.opt_floats("activation_alpha").unwrap_or_default().iter().copied();
    let mut betas = node.opt_floats("activation_beta").unwrap_or_default().iter().copied();
    let functions = names.iter().map(|name| function(name, &mut alphas, &mut betas));
    let functions = functions.collect::<Result<Vec<Unary>, _>>()?;
    Ok(functions.chunks(defaults.len()).map(<[Unary]>::to_vec).collect())
}

fn function(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<Unary, AttributeError> {
    let mut alpha = |default: f32| alphas.next().unwrap_or(default);
    let mut beta = |default: f32| betas.next().unwrap_or(default);
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => Unary::Relu,
        "tanh" => Unary::Tanh,
        "sigmoid" => Unary::Sigmoid,
        "softsign" => Unary::Softsign,
        "softplus" => Unary::Softplus,
        "affine" => Unary::Affine { alpha: alpha(1.0), beta: beta(0.0) },
        "leakyrelu" => Unary::LeakyRelu { alpha: alpha(0.01) },
        "elu" => Unary::Elu { alpha: alpha(1.0) },
        "hardsigmoid" => Unary::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
        "thresholdedrelu" => Unary::ThresholdedRelu { alpha: alpha(1.0) },
        "scaledtanh" => Unary::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
        _ => return Err(AttributeError::invalid(format!("attribute \"activations\": no function {name:?}"))),
    })
}
