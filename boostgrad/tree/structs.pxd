"""The C records of growing one tree."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef struct SplitChoice:
    double gain            # over the unsplit node; 0: no admissible split
    double score           # score(left) + score(right), as the scan reports it
    int64_t[4] left        # packed sums of the left child, as many lanes as a record has
    int32_t feature
    uint32_t code          # t of the go-left rule
    int missing_left       # -1: the node has no missing value in this feature
    uint32_t rank          # tied scores: the lower rank wins

cdef struct Node:
    int64_t begin          # its rows: partition.rows[begin : begin + count]
    int64_t count
    int64_t[4] total       # packed sums
    int32_t depth
    int32_t slot           # its histogram in the pool, -1: none
    int32_t child[2]       # node numbers (left, right), 0: a leaf
    int32_t ready[2]       # the children of a split that is worked out, 0: none
    bint live              # of the tree: not only worked out
    bint is_open           # may be split
    bint is_derived        # its histogram is its parent's less its sibling's
    int32_t order          # splits are numbered as they are made, leaves from left to right
    int64_t age            # the children of the split that was made first are the oldest
    uint64_t key           # looks random; a function of the way from the root
    uint32_t rotation      # where the ranks of the features begin
    int32_t set_words      # a categorical split's set: the grower's set_bits[set_begin : set_begin + set_words]
    int64_t set_begin
    SplitChoice choice
