cdef Py_ssize_t edges_between(const double *distinct, const double *mass, Py_ssize_t n_distinct, double total,
                              Py_ssize_t max_bins, double *edges) noexcept nogil
