//! Operators: one file each, or one for a small close family. A file holds what the operator computes, its opset history,
//! its parsed attributes, schema, inference, evaluation and tests; the list below is the only other place that knows it.
//!
//! Everything else is derived from the schemas: import dispatch, arity and dtype checks, the support table, generators.
#![forbid(unsafe_code)]

mod activation;
mod affine_grid;
mod arg_reduce;
mod arithmetic;
mod attention;
mod batch_normalization;
mod bit_cast;
mod bit_shift;
mod broadcast;
mod cast;
mod causal_conv;
mod center_crop_pad;
mod classify;
mod clip;
mod col2im;
mod compare;
mod compress;
mod concat;
mod constant;
mod constant_of_shape;
mod control;
mod conv;
mod conv_transpose;
mod cumulative;
mod deform_conv;
mod depth_space;
mod det;
mod dft;
mod dropout;
mod dtypes;
mod einsum;
mod elements;
mod elementwise;
mod expand;
mod eye_like;
mod flatten;
mod fold;
mod fourier;
mod gather;
mod gemm;
mod geometry;
mod global_pool;
mod grid_sample;
mod group_normalization;
mod half;
mod hardmax;
#[cfg(test)]
mod hostile;
mod identity;
mod image_decoder;
mod indices;
mod layer_normalization;
mod logic;
mod loss;
mod lrn;
mod math;
mod matmul;
mod max_unpool;
mod mel_weight_matrix;
mod microsoft;
mod ml;
mod modulo;
mod movement;
mod multinomial;
mod nd;
mod non_max_suppression;
mod nonzero;
mod norm;
mod normalize;
mod one_hot;
mod optimizer;
mod optional;
mod packed;
mod pad;
mod parallel;
mod pick;
pub mod planish;
mod pool;
mod pow;
mod prelu;
mod quantized;
mod random;
mod random_fill;
mod range;
mod recurrent;
mod reduce;
mod registry;
mod reshape;
mod resize;
mod reverse_sequence;
mod roi;
mod rotary_embedding;
mod rowwise;
mod select;
mod sequence;
mod sequence_tensors;
mod shape;
mod sign;
mod size;
mod slice;
mod softmax;
mod split;
mod squeeze;
mod stft;
mod strings;
mod swiglu;
mod symbolic;
mod tensor_scatter;
#[cfg(test)]
mod testing;
mod tf_idf_vectorizer;
mod tile;
mod top_k;
mod transpose;
mod trilu;
mod unary;
mod unique;
mod variadic;
mod window;

pub use registry::{Define, Entry, StandardRegistry, entry};

/// Every operator, by domain and name.
pub static OPERATORS: &[Entry] = &[
    entry::<sign::operator::Abs>(),
    entry::<math::operator::Acos>(),
    entry::<math::operator::Acosh>(),
    entry::<arithmetic::Add>(),
    entry::<affine_grid::AffineGrid>(),
    entry::<logic::And>(),
    entry::<arg_reduce::ArgMax>(),
    entry::<arg_reduce::ArgMin>(),
    entry::<math::operator::Asin>(),
    entry::<math::operator::Asinh>(),
    entry::<math::operator::Atan>(),
    entry::<math::operator::Atanh>(),
    entry::<attention::Attention>(),
    entry::<pool::AveragePool>(),
    entry::<batch_normalization::BatchNormalization>(),
    entry::<random_fill::Bernoulli>(),
    entry::<bit_cast::BitCast>(),
    entry::<bit_shift::BitShift>(),
    entry::<logic::BitwiseAnd>(),
    entry::<logic::BitwiseNot>(),
    entry::<logic::BitwiseOr>(),
    entry::<logic::BitwiseXor>(),
    entry::<window::BlackmanWindow>(),
    entry::<cast::Cast>(),
    entry::<cast::CastLike>(),
    entry::<causal_conv::CausalConvWithState>(),
    entry::<math::operator::Ceil>(),
    entry::<activation::operator::Celu>(),
    entry::<center_crop_pad::CenterCropPad>(),
    entry::<clip::Clip>(),
    entry::<col2im::Col2Im>(),
    entry::<compress::Compress>(),
    entry::<concat::Concat>(),
    entry::<sequence_tensors::ConcatFromSequence>(),
    entry::<constant::Constant>(),
    entry::<constant_of_shape::ConstantOfShape>(),
    entry::<conv::Conv>(),
    entry::<quantized::ConvInteger>(),
    entry::<conv_transpose::ConvTranspose>(),
    entry::<math::operator::Cos>(),
    entry::<math::operator::Cosh>(),
    entry::<cumulative::CumProd>(),
    entry::<cumulative::CumSum>(),
    entry::<dft::Dft>(),
    entry::<deform_conv::DeformConv>(),
    entry::<depth_space::DepthToSpace>(),
    entry::<quantized::DequantizeLinear>(),
    entry::<det::Det>(),
    entry::<arithmetic::Div>(),
    entry::<dropout::Dropout>(),
    entry::<quantized::DynamicQuantizeLinear>(),
    entry::<einsum::Einsum>(),
    entry::<activation::operator::Elu>(),
    entry::<compare::Equal>(),
    entry::<math::operator::Erf>(),
    entry::<math::operator::Exp>(),
    entry::<expand::Expand>(),
    entry::<eye_like::EyeLike>(),
    entry::<flatten::Flatten>(),
    entry::<math::operator::Floor>(),
    entry::<recurrent::Gru>(),
    entry::<gather::Gather>(),
    entry::<elements::GatherElements>(),
    entry::<nd::GatherNd>(),
    entry::<activation::operator::Gelu>(),
    entry::<gemm::Gemm>(),
    entry::<global_pool::GlobalAveragePool>(),
    entry::<global_pool::GlobalLpPool>(),
    entry::<global_pool::GlobalMaxPool>(),
    entry::<compare::Greater>(),
    entry::<compare::GreaterOrEqual>(),
    entry::<grid_sample::GridSample>(),
    entry::<group_normalization::GroupNormalization>(),
    entry::<window::HammingWindow>(),
    entry::<window::HannWindow>(),
    entry::<activation::operator::HardSigmoid>(),
    entry::<activation::operator::HardSwish>(),
    entry::<hardmax::Hardmax>(),
    entry::<identity::Identity>(),
    entry::<control::If>(),
    entry::<image_decoder::ImageDecoder>(),
    entry::<group_normalization::InstanceNormalization>(),
    entry::<classify::IsInf>(),
    entry::<classify::IsNaN>(),
    entry::<lrn::Lrn>(),
    entry::<recurrent::Lstm>(),
    entry::<layer_normalization::LayerNormalization>(),
    entry::<activation::operator::LeakyRelu>(),
    entry::<compare::Less>(),
    entry::<compare::LessOrEqual>(),
    entry::<attention::LinearAttention>(),
    entry::<math::operator::Log>(),
    entry::<softmax::LogSoftmax>(),
    entry::<control::Loop>(),
    entry::<normalize::LpNormalization>(),
    entry::<pool::LpPool>(),
    entry::<matmul::MatMul>(),
    entry::<quantized::MatMulInteger>(),
    entry::<variadic::Max>(),
    entry::<pool::MaxPool>(),
    entry::<roi::MaxRoiPool>(),
    entry::<max_unpool::MaxUnpool>(),
    entry::<variadic::Mean>(),
    entry::<normalize::MeanVarianceNormalization>(),
    entry::<mel_weight_matrix::MelWeightMatrix>(),
    entry::<variadic::Min>(),
    entry::<activation::operator::Mish>(),
    entry::<modulo::Mod>(),
    entry::<arithmetic::Mul>(),
    entry::<multinomial::Multinomial>(),
    entry::<sign::operator::Neg>(),
    entry::<loss::NegativeLogLikelihoodLoss>(),
    entry::<non_max_suppression::NonMaxSuppression>(),
    entry::<nonzero::NonZero>(),
    entry::<logic::Not>(),
    entry::<one_hot::OneHot>(),
    entry::<optional::Optional>(),
    entry::<optional::OptionalGetElement>(),
    entry::<optional::OptionalHasElement>(),
    entry::<logic::Or>(),
    entry::<prelu::PRelu>(),
    entry::<pad::Pad>(),
    entry::<pow::Pow>(),
    entry::<quantized::QLinearConv>(),
    entry::<quantized::QLinearMatMul>(),
    entry::<quantized::QuantizeLinear>(),
    entry::<layer_normalization::RmsNormalization>(),
    entry::<recurrent::Rnn>(),
    entry::<random_fill::RandomNormal>(),
    entry::<random_fill::RandomNormalLike>(),
    entry::<random_fill::RandomUniform>(),
    entry::<random_fill::RandomUniformLike>(),
    entry::<range::Range>(),
    entry::<math::operator::Reciprocal>(),
    entry::<reduce::ReduceL1>(),
    entry::<reduce::ReduceL2>(),
    entry::<reduce::ReduceLogSum>(),
    entry::<reduce::ReduceLogSumExp>(),
    entry::<reduce::ReduceMax>(),
    entry::<reduce::ReduceMean>(),
    entry::<reduce::ReduceMin>(),
    entry::<reduce::ReduceProd>(),
    entry::<reduce::ReduceSum>(),
    entry::<reduce::ReduceSumSquare>(),
    entry::<strings::RegexFullMatch>(),
    entry::<sign::operator::Relu>(),
    entry::<reshape::Reshape>(),
    entry::<resize::Resize>(),
    entry::<reverse_sequence::ReverseSequence>(),
    entry::<roi::RoiAlign>(),
    entry::<rotary_embedding::RotaryEmbedding>(),
    entry::<math::operator::Round>(),
    entry::<stft::Stft>(),
    entry::<control::Scan>(),
    entry::<elements::ScatterElements>(),
    entry::<nd::ScatterNd>(),
    entry::<activation::operator::Selu>(),
    entry::<sequence::SequenceAt>(),
    entry::<sequence::SequenceConstruct>(),
    entry::<sequence::SequenceEmpty>(),
    entry::<sequence::SequenceErase>(),
    entry::<sequence::SequenceInsert>(),
    entry::<sequence::SequenceLength>(),
    entry::<control::SequenceMap>(),
    entry::<shape::Shape>(),
    entry::<activation::operator::Shrink>(),
    entry::<activation::operator::Sigmoid>(),
    entry::<sign::operator::Sign>(),
    entry::<math::operator::Sin>(),
    entry::<math::operator::Sinh>(),
    entry::<size::Size>(),
    entry::<slice::Slice>(),
    entry::<softmax::Softmax>(),
    entry::<loss::SoftmaxCrossEntropyLoss>(),
    entry::<activation::operator::Softplus>(),
    entry::<activation::operator::Softsign>(),
    entry::<depth_space::SpaceToDepth>(),
    entry::<split::Split>(),
    entry::<sequence_tensors::SplitToSequence>(),
    entry::<math::operator::Sqrt>(),
    entry::<squeeze::Squeeze>(),
    entry::<strings::StringConcat>(),
    entry::<strings::StringNormalizer>(),
    entry::<strings::StringSplit>(),
    entry::<arithmetic::Sub>(),
    entry::<variadic::Sum>(),
    entry::<swiglu::SwiGlu>(),
    entry::<activation::operator::Swish>(),
    entry::<math::operator::Tan>(),
    entry::<math::operator::Tanh>(),
    entry::<tensor_scatter::TensorScatter>(),
    entry::<tf_idf_vectorizer::TfIdfVectorizer>(),
    entry::<activation::operator::ThresholdedRelu>(),
    entry::<tile::Tile>(),
    entry::<top_k::TopK>(),
    entry::<transpose::Transpose>(),
    entry::<trilu::Trilu>(),
    entry::<unique::Unique>(),
    entry::<squeeze::Unsqueeze>(),
    entry::<select::Where>(),
    entry::<logic::Xor>(),
    entry::<ml::ArrayFeatureExtractor>(),
    entry::<ml::Binarizer>(),
    entry::<ml::CastMap>(),
    entry::<ml::CategoryMapper>(),
    entry::<ml::DictVectorizer>(),
    entry::<ml::FeatureVectorizer>(),
    entry::<ml::Imputer>(),
    entry::<ml::LabelEncoder>(),
    entry::<ml::LinearClassifier>(),
    entry::<ml::LinearRegressor>(),
    entry::<ml::Normalizer>(),
    entry::<ml::OneHotEncoder>(),
    entry::<ml::SvmClassifier>(),
    entry::<ml::SvmRegressor>(),
    entry::<ml::Scaler>(),
    entry::<ml::TreeEnsemble>(),
    entry::<ml::TreeEnsembleClassifier>(),
    entry::<ml::TreeEnsembleRegressor>(),
    entry::<ml::ZipMap>(),
    entry::<attention::FlexAttention>(),
    entry::<optimizer::Adagrad>(),
    entry::<optimizer::Adam>(),
    entry::<optimizer::Momentum>(),
    entry::<microsoft::BiasGelu>(),
    entry::<recurrent::DynamicQuantizeLstm>(),
    entry::<microsoft::DynamicQuantizeMatMul>(),
    entry::<microsoft::FastGelu>(),
    entry::<microsoft::FusedConv>(),
    entry::<microsoft::FusedGemm>(),
    entry::<microsoft::FusedMatMul>(),
    entry::<microsoft::GatherBlockQuantized>(),
    entry::<attention::GroupQueryAttention>(),
    entry::<microsoft::Inverse>(),
    entry::<microsoft::MatMulIntegerToFloat>(),
    entry::<microsoft::MatMulNBits>(),
    entry::<microsoft::MurmurHash3>(),
    entry::<microsoft::QGemm>(),
    entry::<microsoft::QLinearAdd>(),
    entry::<microsoft::QLinearAveragePool>(),
    entry::<microsoft::QLinearGlobalAveragePool>(),
    entry::<microsoft::QLinearMul>(),
    entry::<microsoft::QuickGelu>(),
    entry::<microsoft::SkipLayerNormalization>(),
    entry::<microsoft::SkipSimplifiedLayerNormalization>(),
    entry::<microsoft::Tokenizer>(),
    entry::<planish::Elementwise>(),
    entry::<planish::FusedConv>(),
    entry::<planish::FusedConvInteger>(),
    entry::<planish::FusedMatMul>(),
    entry::<planish::Lookup>(),
    entry::<planish::SafeSoftmax>(),
];
