use crate::testing::{eval_all, tensor};
use planish_ir::Attributes;
use planish_tensor::{Element, Tensor, f16};

/// Queries and keys 0, so that every key has the same weight; values count up.
fn inputs<T: Element>(positions: usize, value: impl Fn(usize) -> T) -> Vec<Option<Tensor>> {
    let zeros = tensor(&[1, 1, positions, 1], &vec![T::default(); positions]);
    let values: Vec<T> = (0..positions).map(value).collect();
    vec![Some(zeros.clone()), Some(zeros), Some(tensor(&[1, 1, positions, 1], &values))]
}

fn rows(attributes: Attributes, inputs: &[Option<Tensor>]) -> Vec<f32> {
    let y = eval_all("", "Attention", attributes, inputs, 1).unwrap();
    y[0].as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn a_query_sees_the_keys_that_are_left_to_it() {
    struct Case {
        causal: i64,
        left: i64,
        right: i64,
        expected: [f32; 4],
    }
    for Case { causal, left, right, expected } in [
        Case { causal: 0, left: -1, right: -1, expected: [1.5; 4] },
        Case { causal: 1, left: -1, right: -1, expected: [0., 0.5, 1., 1.5] },
        Case { causal: 1, left: 1, right: -1, expected: [0., 0.5, 1.5, 2.5] },
        Case { causal: 1, left: 0, right: 2, expected: [0., 1., 2., 3.] },
        Case { causal: 0, left: 0, right: 1, expected: [0.5, 1.5, 2.5, 3.] },
    ] {
        let attributes =
            Attributes::new().with("is_causal", causal).with("left_window_size", left).with("right_window_size", right);
        assert_eq!(rows(attributes, &inputs(4, |i| i as f32)), expected);
    }
}

#[test]
fn keys_beyond_those_that_are_valid_are_not_seen() {
    let mut inputs = inputs(4, |i| i as f32);
    inputs.extend([None, None, None, Some(tensor(&[1], &[3i64]))]);
    assert_eq!(rows(Attributes::new(), &inputs), [1.; 4]);
    let causal = Attributes::new().with("is_causal", 1i64);
    assert_eq!(rows(causal, &inputs), [0., 0., 0.5, 1.]);
}

#[test]
fn a_mask_allows_or_is_added() {
    let mut given = inputs(3, |i| i as f32);
    given.push(Some(tensor(&[3, 2], &[true, false, false, true, false, false])));
    assert_eq!(rows(Attributes::new(), &given), [0., 1., 0.]);
    given[3] = Some(tensor(&[3], &[f32::NEG_INFINITY, 0., 0.]));
    assert_eq!(rows(Attributes::new(), &given), [1.5; 3]);
    given[3] = Some(tensor(&[1, 3], &[0i32, 0, 100]));
    assert_eq!(rows(Attributes::new(), &given), [2.; 3]);
    given[3] = Some(tensor(&[4], &[0f32; 4]));
    assert!(eval_all("", "Attention", Attributes::new(), &given, 1).is_err());
}

#[test]
fn the_cache_grows() {
    for packed in [false, true] {
        let now = |v: &[f32]| tensor(if packed { &[1, 2, 2] } else { &[1, 2, 2, 1] }, v);
        let past = tensor(&[1, 2, 1, 1], &[8f32, 9.]);
        let inputs = [now(&[0.; 4]), now(&[0.; 4]), now(&[1., 2., 3., 4.])].map(Some);
        let inputs = [inputs.to_vec(), vec![None, Some(tensor(&[1, 2, 1, 1], &[0f32; 2])), Some(past)]].concat();
        let heads = Attributes::new().with("q_num_heads", 2i64).with("kv_num_heads", 2i64);
        let attributes = if packed { heads } else { Attributes::new() };
        let y = eval_all("", "Attention", attributes, &inputs, 3).unwrap();
        let present: &[f32] = if packed { &[8., 1., 3., 9., 2., 4.] } else { &[8., 1., 2., 9., 3., 4.] };
        assert_eq!(y[2], tensor(&[1, 2, 3, 1], present));
        let means = [present[..3].iter().sum::<f32>() / 3., present[3..].iter().sum::<f32>() / 3.];
        let order: [usize; 4] = if packed { [0, 1, 0, 1] } else { [0, 0, 1, 1] };
        let got = y[0].as_slice::<f32>().unwrap();
        assert!(got.iter().zip(order).all(|(y, head)| (y - means[head]).abs() < 1e-6), "{got:?}");
    }
}

#[test]
fn scores_are_given_out_at_a_stage() {
    let one = tensor(&[1, 1, 1, 1], &[2f32]);
    let keys = tensor(&[1, 1, 2, 1], &[1f32, 3.]);
    let mask = tensor(&[2], &[0f32, f32::NEG_INFINITY]);
    let inputs = [one, keys.clone(), keys, mask].map(Some);
    let capped = [2.0 * (1f32).tanh(), 2.0 * (3f32).tanh()];
    for (mode, expected) in [[2., 6.], capped, [capped[0], f32::NEG_INFINITY], [1., 0.]].into_iter().enumerate() {
        let attributes = Attributes::new().with("softcap", 2f32).with("qk_matmul_output_mode", mode as i64);
        let y = eval_all("", "Attention", attributes, &inputs, 4).unwrap();
        let scores = y[3].as_slice::<f32>().unwrap();
        assert!(scores.iter().zip(expected).all(|(a, b)| *a == b || (a - b).abs() < 1e-5), "{mode}: {scores:?}");
    }
}

#[test]
fn other_precisions_attend_too() {
    let y = eval_all("", "Attention", Attributes::new(), &inputs(3, |i| i as f64), 1).unwrap();
    assert_eq!(y[0], tensor(&[1, 1, 3, 1], &[1f64; 3]));
    let y = eval_all("", "Attention", Attributes::new(), &inputs(3, |i| f16::from_f32(i as f32)), 1).unwrap();
    assert_eq!(y[0], tensor(&[1, 1, 3, 1], &[f16::ONE; 3]));
    let mut mixed = inputs(3, |i| i as f64);
    mixed[2] = inputs(3, |i| f16::from_f32(i as f32)).pop().unwrap();
    let y = eval_all("", "Attention", Attributes::new(), &mixed, 3).unwrap();
    assert_eq!(y[0], tensor(&[1, 1, 3, 1], &[1f64; 3]));
    assert_eq!(Some(&y[2]), mixed[2].as_ref());
}

#[test]
fn shapes_and_attributes_that_do_not_fit_are_refused() {
    let heads = |q: i64, kv: i64| Attributes::new().with("q_num_heads", q).with("kv_num_heads", kv);
    let x = |dims: &[usize]| Some(tensor(dims, &vec![0f32; dims.iter().product()]));
    for (attributes, inputs) in [
        (heads(2, 1), [x(&[1, 2, 3]), x(&[1, 2, 3]), x(&[1, 2, 3])]),
        (heads(3, 2), [x(&[1, 2, 6]), x(&[1, 2, 4]), x(&[1, 2, 4])]),
        (heads(0, 0), [x(&[1, 2, 6]), x(&[1, 2, 6]), x(&[1, 2, 6])]),
        (Attributes::new(), [x(&[1, 2, 6]), x(&[1, 2, 6]), x(&[1, 2, 6])]),
        (Attributes::new(), [x(&[1, 3, 2, 4]), x(&[1, 2, 2, 4]), x(&[1, 2, 2, 4])]),
        (Attributes::new(), [x(&[1, 2, 2, 4]), x(&[2, 2, 2, 4]), x(&[2, 2, 2, 4])]),
        (Attributes::new(), [x(&[1, 2, 2, 4]), x(&[1, 2, 2, 3]), x(&[1, 2, 2, 4])]),
        (Attributes::new().with("qk_matmul_output_mode", 4i64), [x(&[1, 1, 1, 1]), x(&[1, 1, 1, 1]), x(&[1, 1, 1, 1])]),
        (Attributes::new().with("left_window_size", -2i64), [x(&[1, 1, 1, 1]), x(&[1, 1, 1, 1]), x(&[1, 1, 1, 1])]),
    ] {
        assert!(eval_all("", "Attention", attributes.clone(), &inputs, 1).is_err(), "{attributes:?}");
    }
}
