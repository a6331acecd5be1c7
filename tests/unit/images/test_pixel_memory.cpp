// Blocks come back to who wants the same size, and images of many sizes don't pile up.
#include "bitfall/pixel_memory.hpp"

#include "catch.hpp"

namespace bitfall::test {

TEST_CASE("a block that was given back is taken again") {
  const auto pool = std::make_shared<BlockPool>();
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{5} << 20}) {
    void* first = pool->take(bytes);
    void* second = pool->take(bytes);
    CHECK(first != second);
    pool->give(first, bytes);
    CHECK(pool->take(bytes) == first);
    pool->give(second, bytes);
    pool->give(first, bytes);
  }
}

TEST_CASE("a pool has no more blocks than were in use at one time") {
  BlockPool pool;
  void* kept = pool.take(64);
  for (std::size_t bytes = 1000; bytes < 1100; ++bytes) pool.give(pool.take(bytes), bytes);
  CHECK(pool.unused() == 1);
  pool.give(kept, 64);
  CHECK(pool.unused() == 2);
}

TEST_CASE("vectors keep their pool alive, and new elements are only allocated") {
  PixelVector kept;
  const float* block = nullptr;
  {
    const auto pool = std::make_shared<BlockPool>();
    PixelVector pixels{PixelAllocator<float>(pool)};
    pixels.assign(1000, 7.0F);
    block = pixels.data();
    pixels = PixelVector(PixelAllocator<float>(pool));
    pixels.resize(1000);
    CHECK(pixels.data() == block);
    CHECK(pixels[999] == 7.0F);  // nothing was written over it
    kept = std::move(pixels);
  }
  CHECK(kept.data() == block);
  kept = PixelVector{1, 2, 3};
  CHECK(kept.size() == 3);
}

}  // namespace bitfall::test
