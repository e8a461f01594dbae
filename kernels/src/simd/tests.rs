use super::*;

/// Every operation on one vector of pairs, as bits, so that NaN compares.
struct Operations<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Operations<'_> {
    type Output = Vec<(&'static str, Vec<u32>)>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let mut results = Vec::new();
        for (a, b) in self.a.chunks(S::LANES).zip(self.b.chunks(S::LANES)) {
            let n = a.len();
            let (a, b) = (s.load_partial(a, n, 0.0), s.load_partial(b, n, 0.0));
            let flag = |mask| s.select(mask, s.splat(1.0), s.splat(0.0));
            let table = [
                ("add", s.add(a, b)),
                ("sub", s.sub(a, b)),
                ("mul", s.mul(a, b)),
                ("div", s.div(a, b)),
                ("min", s.min(a, b)),
                ("max", s.max(a, b)),
                ("minimum", s.minimum(a, b)),
                ("maximum", s.maximum(a, b)),
                ("sqrt", s.sqrt(s.abs(a))),
                ("neg", s.neg(a)),
                ("copysign", s.copysign(a, b)),
                ("round", s.round(a)),
                ("floor", s.floor(a)),
                ("ceil", s.ceil(a)),
                ("lt", flag(s.lt(a, b))),
                ("le", flag(s.le(a, b))),
                ("eq", flag(s.eq(a, b))),
                ("ne", flag(s.ne(a, b))),
                ("shift_left", s.with_bits(s.shift_left::<3>(s.bits(a)))),
                ("shift_right", s.with_bits(s.shift_right::<3>(s.bits(a)))),
                ("add_i32", s.with_bits(s.add_i32(s.bits(a), s.bits(b)))),
                ("sub_i32", s.with_bits(s.sub_i32(s.bits(a), s.bits(b)))),
                ("and_i32", s.with_bits(s.and_i32(s.bits(a), s.bits(b)))),
                ("xor_i32", s.with_bits(s.xor_i32(s.bits(a), s.bits(b)))),
                ("to_f32", s.to_f32(s.bits(a))),
            ];
            for (name, vector) in table {
                let mut values = vec![0.0; n];
                s.store_partial(&mut values, n, vector);
                results.push((name, values.into_iter().map(canonical_bits).collect()));
            }
        }
        results
    }
}

/// The bits, with one pattern for every NaN: which one an operation gives differs between instruction sets.
fn canonical_bits(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

/// Which of two zeros is the lesser: Arm compares their signs, x86 takes the second.
fn without_sign_of_zero(bits: u32) -> u32 {
    if f32::from_bits(bits) == 0.0 { 0 } else { bits }
}

fn gather(results: Vec<(&'static str, Vec<u32>)>, name: &str) -> Vec<u32> {
    results.into_iter().filter(|(n, _)| *n == name).flat_map(|(_, bits)| bits).collect()
}

const CORNERS: [f32; 18] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    -2.5,
    -0.5,
    7.3,
    -7.3,
    1e-40,
    -1e-40,
    f32::MAX,
    f32::MIN_POSITIVE,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

#[test]
fn every_operation_of_every_level_equals_the_scalar_one() {
    let a: Vec<f32> = CORNERS.iter().flat_map(|&a| [a; CORNERS.len()]).collect();
    let b: Vec<f32> = CORNERS.iter().flat_map(|_| CORNERS).collect();
    let scalar = Operations { a: &a, b: &b }.run(Scalar);
    for isa in Isa::available() {
        let results = dispatch_on(isa, Operations { a: &a, b: &b });
        for name in scalar.iter().take(25).map(|(name, _)| name) {
            let [mut got, mut expected] = [&results, &scalar].map(|results| gather(results.clone(), name));
            if ["minimum", "maximum"].contains(name) {
                [&mut got, &mut expected].into_iter().flatten().for_each(|bits| *bits = without_sign_of_zero(*bits));
            }
            assert_eq!(got, expected, "{name} on {isa}");
        }
    }
}

struct Reductions<'a>(&'a [f32]);

impl Kernel for Reductions<'_> {
    type Output = [f32; 3];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 3] {
        let x = self.0;
        let add = |a, b| s.add(a, b);
        let max = |a, b| s.max(a, b);
        let min = |a, b| s.min(a, b);
        [
            s.reduce_add(reduce(s, x, 0.0, 0.0, add, add)),
            s.reduce_max(reduce(s, x, f32::NEG_INFINITY, f32::NEG_INFINITY, max, max)),
            s.reduce_min(reduce(s, x, f32::INFINITY, f32::INFINITY, min, min)),
        ]
    }
}

#[test]
fn reductions_cover_every_length() {
    for isa in Isa::available() {
        for n in 1..70_u16 {
            let x: Vec<f32> = (1..=n).map(f32::from).collect();
            let n = f32::from(n);
            assert_eq!(dispatch_on(isa, Reductions(&x)), [n * (n + 1.0) / 2.0, n, 1.0], "{n} values on {isa}");
        }
    }
}

struct Difference<'a> {
    a: Operand<'a>,
    b: Operand<'a>,
    y: &'a mut [f32],
}

impl Kernel for Difference<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        zip(
            s,
            self.a,
            self.b,
            self.y,
            #[inline(always)]
            |a, b| s.sub(a, b),
        );
    }
}

#[test]
fn zip_takes_every_mix_of_operands() {
    for isa in Isa::available() {
        for n in 0..40_u16 {
            let ramp: Vec<f32> = (0..n).map(f32::from).collect();
            let double: Vec<f32> = ramp.iter().map(|x| 2.0 * x).collect();
            let negated: Vec<f32> = ramp.iter().map(|x| -x).collect();
            let zeros = vec![0.0; ramp.len()];
            let cases = [
                (Operand::Slice(&double), Operand::Slice(&ramp), ramp.clone()),
                (Operand::Slice(&double), Operand::Output, ramp.clone()),
                (Operand::Output, Operand::Slice(&double), negated.clone()),
                (Operand::Output, Operand::Output, zeros),
                (Operand::Scalar(0.0), Operand::Output, negated.clone()),
                (Operand::Scalar(0.0), Operand::Slice(&ramp), negated),
                (Operand::Output, Operand::Scalar(0.0), ramp.clone()),
                (Operand::Scalar(3.0), Operand::Scalar(1.0), vec![2.0; ramp.len()]),
            ];
            for (a, b, expected) in cases {
                let mut y = ramp.clone();
                dispatch_on(isa, Difference { a, b, y: &mut y });
                assert_eq!(y, expected, "{a:?} - {b:?} on {isa}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "an operand is as long as the output")]
fn an_operand_of_another_length_is_refused() {
    dispatch(Difference { a: Operand::Output, b: Operand::Slice(&[1.0]), y: &mut [0.0, 0.0] });
}

struct Turned<'a> {
    from: &'a [f32],
    sizes: [usize; 2],
    to: &'a mut [f32],
}

impl Kernel for Turned<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let sizes = self.sizes.map(|n| n.min(S::LANES));
        s.transpose(self.from, 23, sizes, self.to, 19);
    }
}

#[test]
fn transposing_touches_the_wanted_columns_alone() {
    let from: Vec<f32> = (0..23 * 16).map(|i| i as f32).collect();
    for isa in Isa::available() {
        let lanes = match isa {
            Isa::Scalar => 1,
            Isa::Neon => 4,
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
        };
        for rows in 0..=lanes {
            for columns in 0..=lanes {
                let mut to = vec![-1.0; 19 * 16];
                dispatch_on(isa, Turned { from: &from, sizes: [rows, columns], to: &mut to });
                for (at, &got) in to.iter().enumerate() {
                    let (j, i) = (at / 19, at % 19);
                    let expected = if i < rows && j < columns { from[i * 23 + j] } else { -1.0 };
                    assert_eq!(got, expected, "{rows} × {columns} at {at} on {isa}");
                }
            }
        }
    }
}

/// What `load_around` gives for every start near a slice of nine.
struct Around;

impl Kernel for Around {
    type Output = Vec<(isize, Vec<f32>)>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let x: Vec<f32> = (1..10).map(|i| i as f32).collect();
        let start = [-40, -17, -16, -9, -8, -3, -1, 0, 1, 2, 5, 8, 9, 10, 30, isize::MIN, isize::MAX];
        let lanes = |start| {
            let mut lanes = vec![f32::NAN; S::LANES];
            s.store(&mut lanes, s.load_around(&x, start));
            lanes
        };
        start.into_iter().map(|start| (start, lanes(start))).collect()
    }
}

#[test]
fn lanes_around_a_slice_are_zero() {
    for isa in Isa::available() {
        for (start, lanes) in dispatch_on(isa, Around) {
            for (i, lane) in lanes.into_iter().enumerate() {
                let at = start.saturating_add_unsigned(i);
                let expected = if (0..9).contains(&at) { at as f32 + 1.0 } else { 0.0 };
                assert_eq!(lane, expected, "{isa}, lane {i} from {start}");
            }
        }
    }
}

/// Two vectors unzipped, and zipped.
struct Zipped;

impl Kernel for Zipped {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let x: Vec<f32> = (0..2 * S::LANES).map(|i| i as f32).collect();
        let (a, b) = (s.load(&x), s.load(&x[S::LANES..]));
        let lanes = |halves: [S::F32; 2]| {
            let mut lanes = vec![f32::NAN; 2 * S::LANES];
            s.store(&mut lanes, halves[0]);
            s.store(&mut lanes[S::LANES..], halves[1]);
            lanes
        };
        [lanes(s.unzip(a, b)), lanes(s.zip(a, b))]
    }
}

#[test]
fn every_second_lane_and_back() {
    for isa in Isa::available() {
        let [unzipped, zipped] = dispatch_on(isa, Zipped);
        let half = unzipped.len() / 2;
        let places: Vec<f32> = (0..half).flat_map(|i| [i as f32, (half + i) as f32]).collect();
        assert_eq!(zipped, places, "{isa}");
        let second = |odd: usize| (0..half).map(move |i| (2 * i + odd) as f32);
        assert_eq!(unzipped, second(0).chain(second(1)).collect::<Vec<_>>(), "{isa}");
    }
}
