use proptest::prelude::*;

use super::{Conflict, Dim};

fn dim(text: &str) -> Dim {
    Dim::parse(text)
}

const NAMES: [&str; 3] = ["a", "b", "batch-size 2"];

/// An expression as written, evaluated by plain integer arithmetic.
#[derive(Clone, Debug)]
enum Tree {
    Known(i64),
    Symbol(usize),
    Apply(Operator, Box<Tree>, Box<Tree>),
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Add,
    Sub,
    Mul,
    FloorDiv,
    CeilDiv,
    TruncDiv,
    Modulo,
    Min,
    Max,
}

const POLYNOMIAL: &[Operator] = &[Operator::Add, Operator::Sub, Operator::Mul];
const ALL: &[Operator] = &[
    Operator::Add,
    Operator::Sub,
    Operator::Mul,
    Operator::FloorDiv,
    Operator::CeilDiv,
    Operator::TruncDiv,
    Operator::Modulo,
    Operator::Min,
    Operator::Max,
];

impl Tree {
    fn dim(&self) -> Dim {
        match self {
            Self::Known(value) => Dim::known(*value),
            Self::Symbol(index) => Dim::symbol(NAMES[*index]),
            Self::Apply(operator, x, y) => {
                let (x, y) = (x.dim(), y.dim());
                match operator {
                    Operator::Add => x + y,
                    Operator::Sub => x - y,
                    Operator::Mul => x * y,
                    Operator::FloorDiv => x.floor_div(y),
                    Operator::CeilDiv => x.ceil_div(y),
                    Operator::TruncDiv => x.trunc_div(y),
                    Operator::Modulo => x.modulo(y),
                    Operator::Min => x.min(y),
                    Operator::Max => x.max(y),
                }
            }
        }
    }

    fn eval(&self, values: [i64; 3]) -> Option<i64> {
        let (operator, x, y) = match self {
            Self::Known(value) => return Some(*value),
            Self::Symbol(index) => return Some(values[*index]),
            Self::Apply(operator, x, y) => (operator, x.eval(values)?, y.eval(values)?),
        };
        let floor_div = || Some(x.checked_div(y)? - i64::from(x.checked_rem(y)? != 0 && (x < 0) != (y < 0)));
        match operator {
            Operator::Add => x.checked_add(y),
            Operator::Sub => x.checked_sub(y),
            Operator::Mul => x.checked_mul(y),
            Operator::FloorDiv => floor_div(),
            Operator::CeilDiv => Some(floor_div()? + i64::from(x.checked_rem(y)? != 0)),
            Operator::TruncDiv => x.checked_div(y),
            Operator::Modulo => Some(x - floor_div()? * y),
            Operator::Min => Some(x.min(y)),
            Operator::Max => Some(x.max(y)),
        }
    }
}

fn trees(operators: &'static [Operator]) -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![(-6_i64..=6).prop_map(Tree::Known), (0..NAMES.len()).prop_map(Tree::Symbol)];
    leaf.prop_recursive(5, 24, 2, move |inner| {
        (prop::sample::select(operators), inner.clone(), inner)
            .prop_map(|(operator, x, y)| Tree::Apply(operator, Box::new(x), Box::new(y)))
    })
}

fn values() -> impl Strategy<Value = [i64; 3]> {
    prop::array::uniform3(0_i64..40)
}

fn eval(dim: &Dim, values: [i64; 3]) -> Option<i64> {
    dim.eval(&|name| NAMES.iter().position(|known| *known == name).map(|index| values[index]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn evaluation_is_that_of_the_steps_taken(tree in trees(ALL), values in values()) {
        let dim = tree.dim();
        if let (Some(expected), false) = (tree.eval(values), dim.is_unknown()) {
            prop_assert_eq!(eval(&dim, values), Some(expected), "{}", dim);
            if let Some(bound) = dim.at_least() {
                prop_assert!(bound <= expected, "{dim} is {expected} at least {bound}");
            }
        }
    }

    #[test]
    fn printed_form_parses_to_the_same_dim(tree in trees(ALL)) {
        let dim = tree.dim();
        prop_assert_eq!(Dim::parse(&dim.to_string()), dim);
    }

    #[test]
    fn polynomials_obey_the_ring_laws(a in trees(POLYNOMIAL), b in trees(POLYNOMIAL), c in trees(POLYNOMIAL)) {
        let (a, b, c) = (a.dim(), b.dim(), c.dim());
        let laws = [
            (&a + &b, &b + &a),
            (&a * &b, &b * &a),
            (&a + (&b + &c), &a + &b + &c),
            (&a * (&b * &c), &a * &b * &c),
            (&a * (&b + &c), &a * &b + &a * &c),
            (&a + &b - &b, a.clone()),
            (-(-&a), a),
        ];
        for (left, right) in laws {
            prop_assert!(left.is_unknown() || right.is_unknown() || left == right, "{left} against {right}");
        }
    }

    #[test]
    fn division_of_a_product_gives_the_factor(a in trees(POLYNOMIAL), b in trees(POLYNOMIAL)) {
        let (a, b) = (a.dim(), b.dim());
        let product = &a * &b;
        // The steps of a division may outgrow what its two ends do not.
        let is_small = |dim: &Dim| dim.0.size() <= 8;
        if is_small(&a) && is_small(&b) && b != 0 {
            prop_assert_eq!(product.divide_exact(&b), Some(a.clone()));
            prop_assert_eq!(product.floor_div(&b), a);
        }
    }

    #[test]
    fn whole_multiples_leave_a_floor_division(a in trees(ALL), shift in trees(POLYNOMIAL), by in 1_i64..12, values in values()) {
        let (a, shift) = (a.dim(), shift.dim());
        let (left, right) = ((&a + &shift * by).floor_div(by), a.floor_div(by) + &shift);
        if let (Some(left), Some(right)) = (eval(&left, values), eval(&right, values)) {
            prop_assert_eq!(left, right);
        }
    }

    #[test]
    fn substitution_agrees_with_evaluation(tree in trees(ALL), inner in trees(POLYNOMIAL), values in values()) {
        let (dim, inner) = (tree.dim(), inner.dim());
        let Some(value) = eval(&inner, values).filter(|value| *value >= 0) else { return Ok(()) };
        let expected = eval(&dim, [value, values[1], values[2]]);
        let got = dim.substitute("a", &inner);
        if let (Some(expected), false) = (expected, got.is_unknown()) {
            prop_assert_eq!(eval(&got, values), Some(expected));
        }
    }

    #[test]
    fn relations_hold_under_every_binding(a in trees(ALL), b in trees(ALL), values in values()) {
        let (a, b) = (a.dim(), b.dim());
        let (Some(x), Some(y)) = (eval(&a, values), eval(&b, values)) else { return Ok(()) };
        prop_assert!(!Dim::provably_equal(&a, &b) || x == y);
        prop_assert!(!Dim::provably_different(&a, &b) || x != y);
        prop_assert!(x != y || Dim::unify(&a, &b).is_ok());
        let fits = x == y || x == 1 || y == 1;
        match Dim::broadcast(&a, &b) {
            Err(_) => prop_assert!(!fits),
            Ok(result) if fits && !result.is_unknown() => {
                prop_assert_eq!(eval(&result, values), Some(if x == 1 { y } else { x }));
            }
            Ok(_) => {}
        }
    }

    #[test]
    fn any_text_parses(text in any::<String>()) {
        let dim = Dim::parse(&text);
        prop_assert_eq!(Dim::parse(&dim.to_string()), dim);
    }

    #[test]
    fn any_arithmetic_text_parses(text in "([a-c]|[0-9]{1,3}|[-+*/%(),]|//|\\*\\*|min\\(|\\)| ){0,24}") {
        let dim = Dim::parse(&text);
        prop_assert_eq!(Dim::parse(&dim.to_string()), dim);
    }

    #[test]
    fn any_name_round_trips(name in "\\PC{1,12}") {
        let symbol = Dim::symbol(&name);
        prop_assert_eq!(symbol.as_symbol(), Some(name.as_str()));
        prop_assert_eq!(Dim::parse(&symbol.to_string()), symbol);
    }

    #[test]
    fn extreme_integers_do_not_panic(x in any::<i64>(), y in prop_oneof![Just(-1_i64), Just(0), Just(i64::MIN), any::<i64>()]) {
        for (x, y) in [(Dim::known(x), Dim::known(y)), (dim("a") * x, Dim::known(y)), (dim("a") + x, dim("b") * y)] {
            let results = [
                &x + &y, &x - &y, &x * &y, x.floor_div(&y), x.ceil_div(&y), x.trunc_div(&y),
                x.modulo(&y), x.min(&y), x.max(&y), x.substitute("a", &y),
            ];
            for result in results {
                result.at_least();
                prop_assert_eq!(Dim::parse(&result.to_string()), result);
            }
            let _ = (Dim::unify(&x, &y), Dim::broadcast(&x, &y), x.divide_exact(&y));
        }
    }
}

#[test]
fn equal_expressions_are_equal() {
    let cases = [
        ("past + seq - past", "seq"),
        ("2*(a+b)", "2*a + 2*b"),
        ("(4*a)/4", "a"),
        ("(2*a + 1)//2", "a"),
        ("(h - 1)//2 + 1", "(h + 1)//2"),
        ("((h + 1)//2 + 1)//2", "(h + 3)//4"),
        ("(h//2)//2", "h//4"),
        ("ceil(h/4)", "(h + 3)//4"),
        ("-(-h//4)", "(h + 3)//4"),
        ("floor(h/2 + 1/2)", "(h + 1)//2"),
        ("(6*h + 4*w + 3)//8", "(3*h + 2*w + 1)//4"),
        ("(batch*seq*64)//(batch*64)", "seq"),
        ("(batch*seq + 3*batch)//batch", "seq + 3"),
        ("(a*b + c)//b", "a + c//b"),
        ("(a**2 - b**2)//(a - b)", "a + b"),
        ("ceil((a*b + 1)/b)", "a + ceil(1/b)"),
        ("1//(b + 2)", "0"),
        ("h % 4 + 4*(h//4)", "h"),
        ("trunc_div(h + 3, 2)", "(h + 3)//2"),
        ("trunc_div(-h, 2)", "-(h//2)"),
        ("min(seq, past + seq)", "seq"),
        ("min(past + seq, past + 5)", "past + min(seq, 5)"),
        ("min(h, 9223372036854775807)", "h"),
        ("max(h, 0)", "h"),
        ("max(a, min(a, b))", "a"),
        ("max(h - h//2, 0)", "h - h//2"),
        ("min(a, min(c, b))", "min(b, c, a)"),
        ("0*a", "0"),
    ];
    for (left, right) in cases {
        assert_eq!(dim(left), dim(right), "{left} and {right}");
    }
}

#[test]
fn display_is_the_usual_notation() {
    let cases = [
        ("batch", "batch"),
        ("seq+past", "past + seq"),
        ("1 + 2*b*a", "2*a*b + 1"),
        ("1 - a", "1 - a"),
        ("-a - 1", "-a - 1"),
        ("a*a*a", "a**3"),
        ("(h+1)//2", "(h + 1)//2"),
        ("3*(h//2)*w", "3*w*(h//2)"),
        ("w - h//2", "w - (h//2)"),
        ("-(h//w)", "-(h//w)"),
        ("Min(s0, 5)", "min(5, s0)"),
        ("trunc_div(h - 3, 2)", "trunc_div(h - 3, 2)"),
        ("batch-size", "batch-size"),
        ("batch size", "\"batch size\""),
        ("Conv_0.out:1", "Conv_0.out:1"),
        ("?", "?"),
        ("", "?"),
    ];
    for (text, expected) in cases {
        assert_eq!(dim(text).to_string(), expected, "{text}");
    }
}

#[test]
fn costs_are_readable() {
    let cases = [
        ("107000000*batch*seq", "1.07e8·batch·seq"),
        ("134515008", "134515008"),
        ("12*a + 106954752*a*b + 3", "1.07e8·a·b + 12·a + 3"),
        ("20000*((h + 1)//2)", "2.00e4·((h + 1)//2)"),
        ("batch", "batch"),
        ("?", "?"),
    ];
    for (text, expected) in cases {
        assert_eq!(dim(text).fmt_si(), expected, "{text}");
    }
}

#[test]
fn text_that_is_not_arithmetic_is_one_symbol() {
    for text in
        ["batch size", "2b", "0.5*h", "f(x)", "a +", "(a", "min()", "a b", "Größe", "a**b", "99999999999999999999*a"]
    {
        assert_eq!(dim(text).as_symbol(), Some(text));
    }
    let long = format!("a{}", "+a".repeat(500_000));
    assert_eq!(dim(&long).as_symbol(), Some(long.as_str()));
    let nested = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(dim(&nested).as_symbol(), Some(nested.as_str()));
}

#[test]
fn broadcast_follows_onnx() {
    let conflict = || Err(());
    let cases = [
        ("1", "d", Ok("d")),
        ("d", "d", Ok("d")),
        ("3", "d", Ok("3")),
        ("0", "d", Ok("0")),
        ("0", "1", Ok("0")),
        ("3", "4", conflict()),
        ("3", "d + 4", conflict()),
        ("a", "b", Ok("?")),
        ("a + 2", "b", Ok("a + 2")),
        ("a + 2", "a + 3", conflict()),
        ("?", "1", Ok("?")),
        ("?", "3", Ok("3")),
        ("?", "d", Ok("?")),
        ("?", "?", Ok("?")),
    ];
    for (a, b, expected) in cases {
        for (a, b) in [(dim(a), dim(b)), (dim(b), dim(a))] {
            assert_eq!(Dim::broadcast(&a, &b).map_err(drop), expected.map(dim), "{a} with {b}");
        }
    }
}

#[test]
fn unify_keeps_the_more_precise() {
    let cases = [
        ("?", "d", Ok("d")),
        ("?", "?", Ok("?")),
        ("3", "d", Ok("3")),
        ("a + b", "c", Ok("c")),
        ("3", "4", Err(())),
        ("a", "a + 1", Err(())),
        ("-1", "a", Err(())),
    ];
    for (a, b, expected) in cases {
        for (a, b) in [(dim(a), dim(b)), (dim(b), dim(a))] {
            assert_eq!(Dim::unify(&a, &b).map_err(drop), expected.map(dim), "{a} with {b}");
        }
    }
    let conflict: Conflict = Dim::unify(&dim("3"), &dim("a + 4")).unwrap_err();
    assert_eq!(conflict.to_string(), "dimension 3 does not agree with a + 4");
}

#[test]
fn bounds_follow_from_symbols_not_being_negative() {
    let cases = [
        ("a", Some(0)),
        ("a*b + 3", Some(3)),
        ("a - b", None),
        ("-a", None),
        ("max(a, 1)", Some(1)),
        ("(h + 5)//2", Some(2)),
        ("h - h//2", Some(0)),
        ("h - 4*(h//4)", Some(0)),
        ("total - min(seq, total)", Some(0)),
        ("max(a, b) - a", Some(0)),
        ("a + b - max(a, b)", Some(0)),
        ("5 - min(a, 2)", Some(3)),
        ("?", None),
    ];
    for (text, expected) in cases {
        assert_eq!(dim(text).at_least(), expected, "{text}");
    }
}

#[test]
fn exact_division_needs_integer_coefficients() {
    assert_eq!(dim("12*a*b").divide_exact(&dim("4*a")), Some(dim("3*b")));
    assert_eq!(dim("12*a*b").divide_exact(&dim("5*a")), None);
    assert_eq!(dim("12").divide_exact(&dim("4")), Some(dim("3")));
    assert_eq!(dim("0").divide_exact(&dim("a")), Some(dim("0")));
    for (dividend, divisor) in [("a", "0"), ("12", "5"), ("a + 1", "a"), ("?", "a"), ("a", "?")] {
        assert_eq!(dim(dividend).divide_exact(&dim(divisor)), None, "{dividend} by {divisor}");
    }
}

#[test]
fn overflow_and_growth_are_unknown() {
    assert!((Dim::known(i64::MAX) + 1).is_unknown());
    assert!((Dim::known(i64::MIN) * -1).is_unknown());
    assert!(Dim::known(i64::MIN).floor_div(-1).is_unknown());
    assert!(dim("a").floor_div(0).is_unknown());
    assert!((dim("a") * i64::MIN).is_unknown());
    let many: Dim = (0..1000).map(|index| Dim::symbol(&format!("s{index}"))).sum();
    assert!(many.is_unknown());
    let power: Dim = (0..1000).map(|_| dim("a + b + c")).product();
    assert!(power.is_unknown());
    let nested = (0..1000).fold(dim("a"), |dim, index| (dim + 1).floor_div(Dim::symbol(&format!("s{index}"))));
    assert!(nested.is_unknown());
    let zero = Dim::known(0);
    assert_eq!(Dim::unknown() * &zero, zero);
}

#[test]
fn symbols_and_substitution() {
    let expr = dim("2*a*b + min(c, 7) + a//d");
    let names: Vec<_> = expr.symbols().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(expr.substitute("a", &dim("3*d")), dim("6*b*d + min(c, 7) + 3"));
    assert_eq!(expr.substitute("c", &dim("9")), dim("2*a*b + 7 + a//d"));
    assert_eq!(expr.eval(&|name| (name != "d").then_some(1)), None);
    assert_eq!(expr.eval(&|_| Some(2)), Some(2 * 2 * 2 + 2 + 1));
}
