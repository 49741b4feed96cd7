"""The TensorFlow operations that a SavedModel of an image model may consist of.

They compute numbers from tensors and variables, decode images, branch, loop and fail. What is not here reads or writes
files, opens connections, runs Python, prints, or draws from the state of the machine.
"""

_VARIABLES = "DisableCopyOnRead ReadVariableOp ResourceGather VarHandleOp VarIsInitializedOp VariableShape"
_CONTROL = """
Assert Case If NoOp PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While
"""
_TENSORS = """
BatchToSpaceND BroadcastArgs BroadcastGradientArgs BroadcastTo Cast Concat ConcatOffset ConcatV2 Const
DynamicPartition DynamicStitch EnsureShape ExpandDims Fill GatherNd Gather GatherV2 Identity IdentityN InvertPermutation
LinSpace MirrorPad OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault PreventGradient Range Rank Reshape
ReverseV2 ScatterNd Select SelectV2 Shape ShapeN Size Slice Snapshot SpaceToBatchND Split SplitV Squeeze StopGradient
StridedSlice StridedSliceGrad TensorScatterUpdate Tile TopKV2 Transpose Unpack Where ZerosLike
TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListSetItem TensorListStack
EmptyTensorList
"""
_STRINGS = "AsString StaticRegexFullMatch StringFormat StringJoin StringLength"
_ARITHMETIC = """
Abs Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin BatchMatMulV2 BatchMatMulV3 Ceil ClipByValue Cumsum Div
DivNoNan Einsum Equal Erf Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Inv IsFinite IsInf IsNan L2Loss Less
LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mul MulNoNan Neg NotEqual Pow
Prod RealDiv Reciprocal Rint Round Rsqrt RsqrtGrad Sigmoid SigmoidGrad Sign Softplus Sqrt SqrtGrad Square
SquaredDifference Sub Sum Tanh TanhGrad Xdivy Xlogy
"""
_NETWORKS = """
AvgPool AvgPoolGrad BiasAdd BiasAddGrad Conv2D Conv2DBackpropFilter Conv2DBackpropInput DepthwiseConv2dNative
DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Elu EluGrad FusedBatchNormGradV3 FusedBatchNormV3
LeakyRelu LeakyReluGrad LogSoftmax MaxPool MaxPoolGrad Relu Relu6 Relu6Grad ReluGrad Selu SeluGrad Softmax
SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits _FusedConv2D _FusedMatMul
"""
_IMAGES = """
CropAndResize DecodeImage DecodeJpeg DecodePng ExtractJpegShape ResizeArea ResizeBicubic ResizeBilinear
ResizeNearestNeighbor ScaleAndTranslate
"""

# What training needs, and no client of a server may reach.
ASSIGNING = frozenset({"AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"})
_COMPUTING = f"{_VARIABLES} {_CONTROL} {_TENSORS} {_STRINGS} {_ARITHMETIC} {_NETWORKS} {_IMAGES}"
ALLOWED = ASSIGNING | frozenset(_COMPUTING.split())
# Files of weights: only where a checkpoint is written, or read.
SAVING = frozenset({"MergeV2Checkpoints", "SaveV2", "ShardedFilename"})
RESTORING = frozenset({"RestoreV2"})
