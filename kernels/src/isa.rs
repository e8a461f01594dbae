//! The instruction set level that kernels run at: detected once, and forcible for tests and bug reports.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that forces a level: `PLANISH_ISA=scalar`.
pub const ENVIRONMENT_VARIABLE: &str = "PLANISH_ISA";

static CURRENT: OnceLock<Isa> = OnceLock::new();

/// A level of vector instructions that a kernel can be compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Portable code, one element at a time.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C: 8 lanes of `f32`.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL, and all of [`Isa::Avx2`]: 16 lanes of `f32`.
    Avx512,
    /// 64-bit Arm with Advanced SIMD: 4 lanes of `f32`.
    Neon,
}

impl Isa {
    /// Every level, on whatever machine, weakest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// The level that kernels use in this process.
    ///
    /// The first call decides: the level named by `PLANISH_ISA` where this CPU has it, else the best that it has. A name
    /// that is no level is ignored.
    pub fn current() -> Isa {
        *CURRENT.get_or_init(|| {
            let wanted = std::env::var(ENVIRONMENT_VARIABLE).ok().and_then(|name| name.parse().ok());
            wanted.map_or_else(Isa::best, Isa::or_best)
        })
    }

    /// The best level that this CPU has.
    pub fn best() -> Isa {
        Isa::available().last().copied().unwrap_or(Isa::Scalar)
    }

    /// The levels that this CPU has, weakest first.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Whether this CPU has the level. The answer is cached: asking again costs a load.
    #[inline]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns, reason = "the levels of other architectures")]
            _ => false,
        }
    }

    /// The name that `PLANISH_ISA` and the command line know the level by.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    fn or_best(self) -> Isa {
        if self.is_available() { self } else { Isa::best() }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Isa::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| UnknownIsa { name: name.to_owned() })
    }
}

/// Decides the level for the whole process, before any kernel has run, and returns the level now in force.
///
/// A level that this CPU lacks becomes the best that it has. Once a kernel has run the level stands, and is returned.
pub fn force(name: &str) -> Result<Isa, UnknownIsa> {
    let wanted: Isa = name.parse()?;
    Ok(*CURRENT.get_or_init(|| wanted.or_best()))
}

/// A name that is no level's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownIsa {
    name: String,
}

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Isa::ALL.map(Isa::name).join(", ");
        write!(f, "unknown instruction set {:?}: expected one of {known}", self.name)
    }
}

impl std::error::Error for UnknownIsa {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_parses_back_from_its_name() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = force("avx9").unwrap_err().to_string();
        assert_eq!(message, "unknown instruction set \"avx9\": expected one of scalar, neon, avx2, avx512");
    }

    #[test]
    fn scalar_is_always_available_and_current_is_available() {
        assert_eq!(Isa::available().first(), Some(&Isa::Scalar));
        assert!(Isa::current().is_available());
    }
}
