# bitfall_options: what every target of ours is compiled with.
add_library(bitfall_options INTERFACE)
set(own_options -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-unknown-pragmas
  -Wno-restrict)  # GCC 12 sees overlaps in std::string that are not there (GCC bug 105651)
if(BITFALL_WERROR)
  list(APPEND own_options -Werror)
endif()
# a*b+c stays as it is written: no contraction, or bits would depend on the compiler's mood.
list(APPEND own_options -ffp-contract=off)
# Ours alone: who links an installed bitfall chooses options for himself.
# nvcc's own code does not pass all of these, so they are for C++ alone.
target_compile_options(bitfall_options INTERFACE
  "$<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:C,CXX>:${own_options}>>")
target_compile_features(bitfall_options INTERFACE cxx_std_20)
if(BITFALL_SANITIZE)
  target_compile_options(bitfall_options INTERFACE -fsanitize=${BITFALL_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(bitfall_options INTERFACE -fsanitize=${BITFALL_SANITIZE})
endif()
target_include_directories(bitfall_options INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
