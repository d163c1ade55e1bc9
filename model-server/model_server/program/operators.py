"""The operators that a program may call: functions of their arguments, and of nothing else.

Not among them, though they are in `torch.ops.aten` too: what reads or writes files (from_file), draws random numbers,
hands out memory as somebody left it (empty, resize), looks at memory past a tensor's own (as_strided, set), and what
serves training only.
"""

from __future__ import annotations

_FUNCTIONS = """
abs absolute acos acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
adaptive_max_pool2d adaptive_max_pool3d add addbmm addcdiv addcmul addmm addmv addr adjoint affine_grid_generator
alias all amax amin aminmax angle any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin
argsort argwhere asin asinh atan atan2 atanh atleast_1d atleast_2d atleast_3d avg_pool1d avg_pool2d avg_pool3d baddbmm
batch_norm bilinear bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
block_diag bmm broadcast_tensors broadcast_to bucketize cartesian_prod cat cdist ceil celu channel_shuffle chunk clamp
clamp_max clamp_min clip clone col2im column_stack combinations complex concat concatenate conj conj_physical
constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution copy
copysign cos cosh cosine_similarity count_nonzero cross cummax cummin cumprod cumsum deg2rad det detach detach_copy
diag diag_embed diagflat diagonal diagonal_copy diagonal_scatter diff digamma dist div divide dot dropout dstack
einsum elu embedding embedding_bag eq erf erfc erfinv exp exp2 expand expand_as expand_copy expm1 eye feature_dropout
fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2
fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn fill fix flatten flip fliplr flipud float_power floor
floor_divide fmax fmin fmod frac frobenius_norm full full_like gather  ge gelu ger glu greater greater_equal
grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gru_cell gt hardshrink hardsigmoid hardswish hardtanh
heaviside hstack hypot i0 im2col imag index index_add index_copy index_fill index_put index_reduce index_select inner
instance_norm inverse is_nonzero isclose isfinite isin isinf isnan isneginf isposinf isreal istft item kron kthvalue
layer_norm ldexp le leaky_relu lerp less less_equal lgamma lift_fresh lift_fresh_copy linalg_cholesky linalg_cross
linalg_det linalg_diagonal linalg_inv linalg_matmul linalg_matrix_norm linalg_matrix_power linalg_multi_dot
linalg_norm linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_triangular linalg_svd linalg_vecdot
linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp
logdet logical_and logical_not logical_or logical_xor logit logspace logsumexp lstm lstm_cell lt mT mH masked_fill
masked_scatter masked_select matmul matrix_exp matrix_power max max_pool1d max_pool2d max_pool2d_with_indices
max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d maximum mean median meshgrid min minimum mish mm mode
moveaxis movedim msort mul multiply mv nan_to_num nanmean nanmedian nanquantile nansum narrow narrow_copy
native_batch_norm native_channel_shuffle native_group_norm native_layer_norm ne neg negative new_full new_ones
new_zeros nonzero nonzero_numpy nonzero_static norm not_equal nuclear_norm numpy_T one_hot ones ones_like outer pad
pairwise_distance permute permute_copy pixel_shuffle pixel_unshuffle polar polygamma positive pow prelu prod quantile
rad2deg ravel real reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 remainder renorm repeat
repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg
rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 round rsqrt rsub scalar_tensor
scaled_dot_product_attention scatter scatter_add scatter_reduce searchsorted select select_copy select_scatter selu
sgn sigmoid sign signbit silu sin sinc sinh slice slice_copy slice_scatter softmax softplus softshrink sort
special_entr special_erf special_erfc special_erfcx special_erfinv special_exp2 special_expit special_expm1 special_i0
special_log1p special_log_ndtr special_log_softmax special_logit special_logsumexp special_ndtr special_ndtri
special_round special_sinc special_softmax special_xlog1py special_xlogy split split_copy split_with_sizes
split_with_sizes_copy sqrt square squeeze squeeze_copy stack std std_mean stft sub subtract sum svd swapaxes swapdims
sym_numel sym_size sym_storage_offset sym_stride t t_copy take take_along_dim tan tanh tensor_split tensordot
threshold tile to topk trace transpose transpose_copy trapezoid trapz tril tril_indices triu triu_indices true_divide
trunc type_as unbind unbind_copy unflatten unfold unfold_copy unsafe_chunk unsafe_split unsafe_split_with_sizes
unsqueeze unsqueeze_copy upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d vander var var_mean vdot view view_as view_as_complex
view_as_real view_copy vstack where xlogy zeros zeros_like _adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward
_conj _embedding_bag _fft_c2c _fft_c2r _fft_r2c _local_scalar_dense _log_softmax _native_batch_norm_legit_no_training
_pdist_forward _scaled_dot_product_flash_attention_for_cpu _softmax _thnn_fused_gru_cell _thnn_fused_lstm_cell
_to_copy _trilinear _unsafe_index _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa
_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm _assert_async
_assert_scalar sym_constrain_range sym_constrain_range_for_size
"""

# They change their first argument; `run` sees to it that this is never a weight.
_IN_PLACE = """
abs_ add_ addcdiv_ addcmul_ baddbmm_ bitwise_and_ bitwise_not_ bitwise_or_ bitwise_xor_ celu_ clamp_ clamp_max_
clamp_min_ copy_ cos_ cumsum_ div_ dropout_ elu_ exp_ fill_ floor_ gelu_ hardsigmoid_ hardswish_ hardtanh_ index_add_
index_copy_ index_fill_ index_put_ leaky_relu_ log_ logical_and_ logical_not_ logical_or_ masked_fill_ masked_scatter_
mish_ mul_ neg_ pow_ reciprocal_ relu6_ relu_ round_ rsqrt_ scatter_ scatter_add_ scatter_reduce_ selu_ sigmoid_ silu_
sin_ softmax_ sqrt_ square_ squeeze_ sub_ t_ tanh_ threshold_ transpose_ tril_ triu_ unsqueeze_ zero_
"""

ATEN = frozenset((_FUNCTIONS + _IN_PLACE).split())

# Arithmetic on sizes. Not powers and shifts: a few of them make a number that no memory holds.
SIZES = frozenset(
    f"_operator.{name}"
    for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pos", "eq", "ne", "lt", "le", "gt", "ge")
) | {
    "_operator.and_",
    "_operator.or_",
    "math.trunc",
    "torch.sym_float",
    "torch.sym_int",
    "torch.sym_ite",
    "torch.sym_max",
    "torch.sym_min",
    "torch.sym_not",
}

# Says of which datatype a tensor was on the machine that exported, which a server may choose anew.
LEFT_OUT = "torch.ops.aten._assert_tensor_metadata.default"

_PREFIX = "torch.ops.aten."


def is_allowed(target: str) -> bool:
    """Say whether a step may call this; an overload that writes into a given tensor may not be one."""
    if target in SIZES:
        return True
    name, _, overload = target.removeprefix(_PREFIX).partition(".")
    return target.startswith(_PREFIX) and name in ATEN and overload.isidentifier() and "out" not in overload.split("_")
