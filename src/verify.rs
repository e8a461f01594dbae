//! Proves an optimized graph on inputs: it must compute what the original does, or the rule that changed the result is
//! found, named and left out.

use crate::data::{DataSet, Tolerance, compare};
use planish_ir::Graph;
use planish_passes::{OptimizeOptions, Optimizer, Report, optimize_with};
use planish_runtime::{RunOptions, Session, SessionOptions};
use planish_tensor::Value;

/// How often the result of optimizing is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Never.
    Off,
    /// When all passes are done; pass by pass only if that fails.
    #[default]
    Final,
    /// After each pass that changed something.
    Each,
}

/// A rewrite that changed what the model computes. Its rule was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The rule.
    pub rule: &'static str,
    /// The node that it rewrote.
    pub node: String,
    /// The rewrite's number; `stop_after` one less gives the graph before it.
    pub number: usize,
    /// How the result differed.
    pub difference: String,
}

/// An optimized graph that was checked.
#[derive(Debug)]
pub struct Verified {
    /// The graph.
    pub graph: Graph,
    /// What was done to it.
    pub report: Report,
    /// Rules that were left out, for they changed the result.
    pub culprits: Vec<Culprit>,
}

/// More rules than this are not left out: something else is wrong then, and the original is given back.
const MAX_CULPRITS: usize = 16;

/// Inputs, and what the original computes from them.
pub struct Verifier<'a> {
    original: &'a Graph,
    sets: Vec<DataSet>,
    tolerance: Tolerance,
    session_options: SessionOptions,
    run_options: RunOptions,
}

impl<'a> Verifier<'a> {
    /// Runs the original on each set of inputs. Sets that it does not run on are left aside; if none is left, or the
    /// original draws random numbers, the message says so.
    pub fn new(
        original: &'a Graph,
        sets: Vec<DataSet>,
        session_options: SessionOptions,
        run_options: RunOptions,
    ) -> Result<Verifier<'a>, String> {
        Verifier::of_first(original, sets.into_iter().map(|set| vec![set]).collect(), session_options, run_options)
    }

    /// The same with the first of each list that the original runs on.
    pub fn of_first(
        original: &'a Graph,
        lists: Vec<Vec<DataSet>>,
        session_options: SessionOptions,
        run_options: RunOptions,
    ) -> Result<Verifier<'a>, String> {
        let bodies = original.bodies();
        let is_random = |graph: &Graph| {
            graph.operators().any(|(_, operator)| operator.op().is_some_and(|op| !op.is_deterministic()))
        };
        if is_random(original) || bodies.iter().any(|body| is_random(body)) {
            return Err("the model draws random numbers".to_owned());
        }
        let session = Session::new(original.clone(), &session_options).map_err(|e| e.to_string())?;
        let mut failure: Option<String> = None;
        let mut expected = Vec::new();
        for list in lists {
            for set in list {
                match run(&session, &set, &run_options) {
                    Ok(outputs) => {
                        expected.push(DataSet { outputs, ..set });
                        break;
                    }
                    Err(message) => _ = failure.get_or_insert(message),
                }
            }
        }
        if expected.is_empty() {
            return Err(failure.unwrap_or_else(|| "there are no inputs".to_owned()));
        }
        let tolerance = Tolerance::default();
        Ok(Verifier { original, sets: expected, tolerance, session_options, run_options })
    }

    /// The same with another tolerance.
    pub fn within(self, tolerance: Tolerance) -> Verifier<'a> {
        Verifier { tolerance, ..self }
    }

    /// The first rewrite that changes the result, if all together change it.
    pub fn culprit(&self, options: &OptimizeOptions) -> Option<Culprit> {
        let mut graph = self.original.clone();
        let report = optimize_with(&mut graph, options);
        self.check(&graph).is_err().then(|| self.find(options, 0, report.rewrites.len()))
    }

    /// How many sets of inputs there are.
    pub fn num_sets(&self) -> usize {
        self.sets.len()
    }

    /// Whether the graph computes what the original does, else how it differs.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        let session = Session::new(graph.clone(), &self.session_options).map_err(|e| e.to_string())?;
        for set in &self.sets {
            let got = run(&session, set, &self.run_options)?;
            for ((name, expected), (_, got)) in set.outputs.iter().zip(&got) {
                if let Some(mismatch) = compare(got, expected, self.tolerance).mismatch {
                    return Err(format!("output {name:?}: {mismatch}"));
                }
            }
        }
        Ok(())
    }

    /// Optimizes the original. A rule that changes the result is left out and everything done again without it.
    pub fn optimize(&self, options: &OptimizeOptions, verify: Verify) -> Verified {
        let mut options = options.clone();
        let mut culprits: Vec<Culprit> = Vec::new();
        loop {
            let mut graph = self.original.clone();
            let (report, suspects) = match verify {
                Verify::Each => self.pass_by_pass(&mut graph, &options),
                Verify::Off | Verify::Final => (optimize_with(&mut graph, &options), None),
            };
            let suspects = suspects.or_else(|| {
                let is_bad = verify == Verify::Final && !report.rewrites.is_empty() && self.check(&graph).is_err();
                is_bad.then_some((0, report.rewrites.len()))
            });
            let Some((good, bad)) = suspects else {
                return Verified { graph, report, culprits };
            };
            if culprits.len() == MAX_CULPRITS {
                return Verified { graph: self.original.clone(), report: Report::default(), culprits };
            }
            let culprit = self.find(&options, good, bad);
            options.skip.push(culprit.rule.to_owned());
            culprits.push(culprit);
        }
    }

    /// Checks after each pass that changed something. Where a check fails: the numbers of rewrites before that pass and
    /// after it.
    fn pass_by_pass(&self, graph: &mut Graph, options: &OptimizeOptions) -> (Report, Option<(usize, usize)>) {
        let mut optimizer = Optimizer::new(options);
        loop {
            let before = optimizer.num_rewrites();
            if optimizer.step(graph).is_none() {
                return (optimizer.finish(graph), None);
            }
            let after = optimizer.num_rewrites();
            if after > before && self.check(graph).is_err() {
                return (optimizer.finish(graph), Some((before, after)));
            }
        }
    }

    /// The first rewrite after which the result is wrong, between a number of rewrites that is good and one that is bad.
    fn find(&self, options: &OptimizeOptions, mut good: usize, mut bad: usize) -> Culprit {
        let stopped = |number: usize| {
            let mut graph = self.original.clone();
            let report = optimize_with(&mut graph, &OptimizeOptions { stop_after: Some(number), ..options.clone() });
            (report, self.check(&graph))
        };
        while good + 1 < bad {
            let middle = good.midpoint(bad);
            match stopped(middle).1 {
                Ok(()) => good = middle,
                Err(_) => bad = middle,
            }
        }
        let (report, check) = stopped(bad);
        let rewrite = report.rewrites.last();
        Culprit {
            rule: rewrite.map_or("", |r| r.rule),
            node: rewrite.map_or_else(String::new, |r| r.node.clone()),
            number: bad,
            difference: check.err().unwrap_or_default(),
        }
    }
}

fn run(session: &Session, set: &DataSet, options: &RunOptions) -> Result<Vec<(String, Value)>, String> {
    let inputs = set.inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let outputs = session.run(inputs, options).map_err(|e| e.to_string())?;
    Ok(session.outputs().iter().map(|o| o.name.clone()).zip(outputs).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::{data_of, site};
    use planish_ir::Attributes;
    use planish_ops::StandardRegistry;
    use planish_passes::{Patch, Rule};
    use planish_tensor::Tensor;

    /// A rule that is wrong for negative numbers.
    static WRONG: Rule = Rule::matching("relu-is-abs", "y = Relu(x)", |_, found| {
        Ok(Patch::by_operator(found, "Abs", Attributes::new(), &[found["x"].into()]))
    });

    #[test]
    fn a_wrong_rule_is_named_and_rolled_back() {
        let text = "g (float[3] x) => (float[3] y) { a = Neg (x) i = Identity (a) b = Relu (i) y = Exp (b) }";
        let graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let inputs = vec![("x".to_owned(), Tensor::vector(&[-1f32, 0.5, 2.0]).into())];
        let options = OptimizeOptions { extra: vec![&WRONG], ..OptimizeOptions::default() };
        for verify in [Verify::Final, Verify::Each] {
            let sets = vec![DataSet { inputs: inputs.clone(), outputs: Vec::new() }];
            let limits = (SessionOptions::default(), RunOptions::default());
            let verifier = Verifier::new(&graph, sets, limits.0, limits.1).unwrap();
            let Verified { graph: optimized, report, culprits } = verifier.optimize(&options, verify);
            assert_eq!(culprits.len(), 1, "{culprits:?}");
            assert_eq!((culprits[0].rule, culprits[0].node.as_str()), ("relu-is-abs", "b"));
            assert_eq!(report.passes().iter().map(|p| p.name).collect::<Vec<_>>(), ["remove-noops"]);
            assert!(optimized.operators().all(|(_, o)| !o.is("Abs")));
            verifier.check(&optimized).unwrap();
        }
    }

    #[test]
    fn a_wrong_rule_is_bisected_to_the_nodes_that_it_replaced() {
        let text = "g (float[3] x) => (float[3] y) { a = Neg (x) i = Identity (a) b = Relu (i) y = Exp (b) }";
        let graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let inputs = vec![("x".to_owned(), Tensor::vector(&[-1f32, 0.5, 2.0]).into())];
        let set = DataSet { inputs, outputs: Vec::new() };
        let options = OptimizeOptions { extra: vec![&WRONG], ..OptimizeOptions::default() };
        let (session_options, run_options) = (SessionOptions::default(), RunOptions::default());
        let verifier = Verifier::new(&graph, vec![set.clone()], session_options, run_options.clone()).unwrap();
        let culprit = verifier.culprit(&options).unwrap();
        assert_eq!(culprit.rule, "relu-is-abs");
        let site = site(&graph, &options, culprit.number).unwrap().unwrap();
        let operators = |graph: &Graph| graph.operators().map(|(_, o)| o.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (operators(&site.before), operators(&site.after)),
            (vec!["Relu".to_owned()], vec!["Abs".to_owned()])
        );
        let data = data_of(&graph, &site, &set, &run_options).unwrap();
        let verifier = Verifier::new(&site.before, vec![data], SessionOptions::default(), run_options).unwrap();
        assert!(verifier.check(&site.after).is_err());
        assert!(Verifier::culprit(&verifier, &OptimizeOptions::default()).is_none());
    }

    #[test]
    fn random_models_are_not_verified() {
        let text = "g (float[3] x) => (float[3] y) { y = RandomNormalLike (x) }";
        let graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let verifier = Verifier::new(&graph, Vec::new(), SessionOptions::default(), RunOptions::default());
        assert_eq!(verifier.err().as_deref(), Some("the model draws random numbers"));
    }
}
