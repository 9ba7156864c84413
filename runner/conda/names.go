package conda

import "strings"

// renamed maps conda's name to the one on PyPI, where they differ.
var renamed = map[string]string{
	"beautiful-soup":  "beautifulsoup4",
	"brotli-python":   "brotli",
	"dask-core":       "dask",
	"faiss":           "faiss-cpu",
	"lightgbm-cpu":    "lightgbm",
	"matplotlib-base": "matplotlib", "seaborn-base": "seaborn",
	"msgpack-python": "msgpack",
	"numpy-base":     "numpy",
	"opencv":         "opencv-python-headless", "py-opencv": "opencv-python-headless",
	"py-xgboost": "xgboost", "py-xgboost-cpu": "xgboost", "py-xgboost-gpu": "xgboost",
	"pyarrow-core":    "pyarrow",
	"pytables":        "tables",
	"python-graphviz": "graphviz",
	"python-xxhash":   "xxhash",
	"pytorch":         "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch",
	"redis-py":       "redis",
	"tensorflow-cpu": "tensorflow", "tensorflow-base": "tensorflow",
	"uvicorn-standard": "uvicorn[standard]",
	"xgboost-cpu":      "xgboost",
}

// needless are what an installer of wheels does not need: installers and
// build tools. They are left out with a note.
var needless = set("pip", "setuptools", "wheel", "conda", "conda-build", "mamba",
	"compilers", "c-compiler", "cxx-compiler", "fortran-compiler", "gcc", "gxx", "gfortran", "gcc_linux-64", "gxx_linux-64",
	"gfortran_linux-64", "clang", "clangxx", "make", "cmake", "ninja", "pkg-config", "autoconf", "automake", "libtool", "binutils",
	"ca-certificates", "nomkl", "python_abi", "cpuonly")

// foreign are conda packages that are no Python package, or whose name on
// PyPI belongs to something else.
var foreign = set("_libgcc_mutex", "_openmp_mutex", "bash", "blas", "boost", "boost-cpp", "bzip2", "cudatoolkit", "cudnn", "curl",
	"ffmpeg", "fontconfig", "freetype", "gdal", "geos", "git", "glib", "go", "graphviz", "hdf5", "icu", "imagemagick", "java-jdk", "jpeg",
	"ld_impl_linux-64", "llvm", "maven", "mpich", "mysql", "nccl", "ncurses", "netcdf4-c", "nginx", "nodejs", "openblas", "openjdk",
	"openmpi", "openssl", "perl", "poppler", "postgresql", "proj", "protobuf-compiler", "readline", "redis-server", "rust", "sqlite", "swig",
	"tesseract", "tk", "unixodbc", "unzip", "vim", "xz", "zip", "zlib", "zstd")

// foreignPrefixes are families of the same.
var foreignPrefixes = []string{"r-", "cuda-", "libgcc", "libstdc", "libgfortran", "libgomp", "libblas", "libcblas", "liblapack", "libopenblas",
	"libcuda", "libcublas", "libcufft", "libcurand", "libcusolver", "libcusparse", "libnvjitlink", "libssl", "libuuid", "libffi", "libxml2",
	"libxslt", "libpng", "libtiff", "libjpeg", "libzlib", "libsqlite", "libnsl", "libcurl", "libprotobuf", "libstdcxx", "mkl_", "xorg-",
	"bioconductor-", "perl-", "vc14_", "vs2015_", "sysroot_"}

func set(names ...string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out
}

func isForeign(name string) bool {
	if foreign[name] {
		return true
	}
	for _, p := range foreignPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
