#pragma once
/// Codes that move while codebooks are finetuned.
#include <vector>

#include "bitfall/images.hpp"
#include "bitfall/quantized_layer.hpp"
#include "cluster_layer.hpp"
#include "layer_moments.hpp"
#include "src/finetune/trained_space.hpp"

namespace bitfall {

/// `--reassign-every` and what it works with.
struct ReassignParameters {
  std::int64_t every = 0;  ///< iterations of the global stage; 0: never
  std::int64_t calibration_images = 1024, micro_batch = 16;
  MomentParameters moments;
  ClusterParameters cluster;  ///< seed and threads come from the context
};

/// One walk of the student over the calibration images: each layer gets the codes that are best for its
/// codebook as it is now, where its objective falls (reassign_codes). What a layer aims at is its metric's:
/// with `full` the teacher's outputs on the student's inputs of this moment, else the teacher's weight. Later
/// layers see the outputs of the new codes. Changes `layers`, `space` and the student's weights (collective).
void reassign_all(Network& student, const Network& teacher, const ShardSet& shards,
                  const Preprocessing& preprocessing, const ReassignParameters& parameters,
                  std::vector<QuantizedLayer>& layers, TrainedSpace& space, const JobContext& context);

}  // namespace bitfall
