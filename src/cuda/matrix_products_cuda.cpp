#include <cublas_v2.h>
#include <dlfcn.h>

#include <string>

#include "cuda/matrix_products.hpp"

namespace bitfall::cuda {

struct MatrixProducts::Library {
  decltype(&cublasCreate_v2) create = nullptr;
  decltype(&cublasDestroy_v2) destroy = nullptr;
  decltype(&cublasSetStream_v2) set_stream = nullptr;
  decltype(&cublasSetMathMode) set_math_mode = nullptr;
  decltype(&cublasSsyrk_v2) syrk = nullptr;
  decltype(&cublasSgemm_v2) gemm = nullptr;
  decltype(&cublasGetStatusString) text = nullptr;
  cublasHandle_t handle = nullptr;
  const Device* device = nullptr;

  explicit Library(const Device& on) : device(&on) {
    // LibTorch's part for CUDA has loaded it already, if it was found there.
    void* library = dlopen("libcublas.so.13", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw_failed_call("loading cuBLAS", on.rank(), dlerror());
    find(library, create, "cublasCreate_v2");
    find(library, destroy, "cublasDestroy_v2");
    find(library, set_stream, "cublasSetStream_v2");
    find(library, set_math_mode, "cublasSetMathMode");
    find(library, syrk, "cublasSsyrk_v2");
    find(library, gemm, "cublasSgemm_v2");
    find(library, text, "cublasGetStatusString");
    check(create(&handle), "cublasCreate");
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() { destroy(handle); }

  void check(cublasStatus_t status, const char* call) const {
    if (status != CUBLAS_STATUS_SUCCESS) throw_failed_call(call, device->rank(), text(status));
  }

 private:
  template <class Function>
  void find(void* library, Function& function, const char* name) const {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw_failed_call("loading cuBLAS", device->rank(), dlerror());
  }
};

MatrixProducts::MatrixProducts(const Device& device)
    : device_(device), library_(std::make_unique<Library>(device)) {
  library_->check(library_->set_stream(library_->handle, device.stream()), "cublasSetStream");
  // No TF32, whatever the environment says: a statistic has the digits of its inputs.
  library_->check(library_->set_math_mode(library_->handle, CUBLAS_PEDANTIC_MATH), "cublasSetMathMode");
}

MatrixProducts::~MatrixProducts() = default;

// cuBLAS counts columns first: its X is our X^T.

void MatrixProducts::square(const float* x, std::int64_t count, std::int64_t columns, float* out) const {
  const float one = 1, zero = 0;
  const int n = static_cast<int>(columns);
  library_->check(library_->syrk(library_->handle, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N, n,
                                 static_cast<int>(count), &one, x, n, &zero, out, n),
                  "cublasSsyrk");
}

void MatrixProducts::product(const float* y, const float* x, std::int64_t rows, std::int64_t count,
                             std::int64_t columns, float* out) const {
  const float one = 1, zero = 0;
  const int m = static_cast<int>(columns), n = static_cast<int>(rows), k = static_cast<int>(count);
  library_->check(
      library_->gemm(library_->handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &one, x, m, y, k, &zero, out, m),
      "cublasSgemm");
}

}  // namespace bitfall::cuda
