# bitfall_options: what every target of ours is compiled with.
add_library(bitfall_options INTERFACE)
target_compile_options(bitfall_options INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-unknown-pragmas
  -Wno-restrict)  # GCC 12 sees overlaps in std::string that are not there (GCC bug 105651)
# a*b+c stays as it is written: no contraction, or bits would depend on the compiler's mood.
target_compile_options(bitfall_options INTERFACE -ffp-contract=off)
if(BITFALL_WERROR)
  target_compile_options(bitfall_options INTERFACE -Werror)
endif()
if(BITFALL_SANITIZE)
  target_compile_options(bitfall_options INTERFACE -fsanitize=${BITFALL_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(bitfall_options INTERFACE -fsanitize=${BITFALL_SANITIZE})
endif()
target_include_directories(bitfall_options INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)
