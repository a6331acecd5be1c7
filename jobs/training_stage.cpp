#include "training_stage.hpp"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "bitfall/errors.hpp"
#include "bitfall/random.hpp"
#include "src/finetune/data_order.hpp"

namespace bitfall {

TrainingStage::TrainingStage(const ShardSet& shards, Preprocessing preprocessing, StageParameters parameters,
                             CheckpointInterval interval, JobContext& context)
    : shards_(shards),
      preprocessing_(std::move(preprocessing)),
      parameters_(std::move(parameters)),
      interval_(interval),
      context_(context) {
  const auto images = static_cast<std::int64_t>(shards.samples().size());
  batch_.images = std::min(parameters_.batch, images);
  batch_.micro_batches = (batch_.images + parameters_.micro_batch - 1) / parameters_.micro_batch;
  of_epoch_ = iterations_of_epoch(images, parameters_.batch);
}

/// The images that don't fill a last batch have their turn in another epoch.
std::int64_t TrainingStage::iterations_of_epoch(std::int64_t images, std::int64_t batch) {
  return std::max<std::int64_t>(1, images / std::max<std::int64_t>(batch, 1));
}

/// This rank's micro-batches of iterations [first, last) of one epoch, one after the other.
std::vector<std::vector<std::int64_t>> TrainingStage::local_batches(std::int64_t first,
                                                                    std::int64_t last) const {
  const std::int64_t epoch = first / of_epoch_;
  const std::vector<std::int64_t> order =
      epoch_order(static_cast<std::int64_t>(shards_.samples().size()), context_.options.seed,
                  random_stream::epoch_order + parameters_.stream, epoch);
  std::vector<std::vector<std::int64_t>> local;
  for (std::int64_t iteration = first; iteration < last; ++iteration) {
    const auto begin = order.begin() + (iteration - epoch * of_epoch_) * batch_.images;
    const auto all =
        cut_micro_batches(std::vector<std::int64_t>(begin, begin + batch_.images), parameters_.micro_batch);
    const auto mine = local_micro_batches(all, context_.communicator);
    local.insert(local.end(), mine.begin(), mine.end());
  }
  return local;
}

bool TrainingStage::run(Trainer& trainer, std::int64_t first, const StopRequest* stop,
                        const StageHooks& hooks) {
  begin_seconds_ = context_.reporter.seconds();
  images_done_ = 0;
  double saved_seconds = begin_seconds_;
  const std::size_t share =
      static_cast<std::size_t>(context_.communicator.share(batch_.micro_batches).size());
  std::int64_t done = first;
  while (done < parameters_.iterations) {
    const std::int64_t epoch = done / of_epoch_;
    const std::int64_t last = std::min((epoch + 1) * of_epoch_, parameters_.iterations);
    const Augmentation augmentation{parameters_.augmentation, context_.options.seed,
                                    (parameters_.stream << 24) + static_cast<std::uint64_t>(epoch)};
    BatchLoader loader(shards_, preprocessing_, local_batches(done, last), context_.threads,
                       static_cast<int>(2 * share) + 2, augmentation);
    while (done < last) {
      const double step_begin = context_.reporter.seconds();
      double data_seconds = 0;
      std::vector<TrainingBatch> local;
      context_.communicator.guarded("decoding the images", [&] {
        const StageTimer timer(data_seconds);
        for (Batch batch; local.size() < share && loader.next(batch);) {
          std::vector<std::int64_t> labels = batch.labels;
          const std::uint64_t key =
              random_bits(context_.options.seed, random_stream::proposals + static_cast<std::uint64_t>(done),
                          static_cast<std::uint64_t>(batch.indices.front()));
          local.push_back({to_tensor(std::move(batch)), std::move(labels), key});
        }
      });
      const double rate = parameters_.schedule.at(done);
      const double now = context_.reporter.seconds();
      const bool due = context_.communicator.is_root() && interval_.minutes > 0 &&
                       now - saved_seconds >= 60 * interval_.minutes;
      std::array<std::int64_t, 2> flags = {stop != nullptr && stop->here() ? 1 : 0, due ? 1 : 0};
      const StepReport step = take_step(trainer, local, rate, flags, done);
      ++done;
      report(done, step, data_seconds, context_.reporter.seconds() - step_begin, rate);
      if (hooks.after_step) hooks.after_step(done);
      const bool by_count = interval_.iterations > 0 && done % interval_.iterations == 0;
      if (flags[0] > 0 || flags[1] > 0 || by_count) {
        hooks.save(done);
        saved_seconds = context_.reporter.seconds();
      }
      if (flags[0] > 0) return false;
    }
    agree_on_bad_images(shards_, context_);
  }
  return true;
}

/// One iteration; NaN and infinity end the job with the place and the rate, before they reach a codebook.
StepReport TrainingStage::take_step(Trainer& trainer, std::span<const TrainingBatch> local, double rate,
                                    std::span<std::int64_t> flags, std::int64_t done) const {
  try {
    return trainer.step(local, batch_, rate, flags, context_.communicator);
  } catch (const DataError& error) {
    std::ostringstream place;
    place << " (iteration " << done + 1 << ", learning rate " << rate << ")";
    throw DataError(parameters_.name + ": " + error.what() + place.str());
  }
}

void TrainingStage::report(std::int64_t done, const StepReport& step, double data_seconds,
                           double step_seconds, double learning_rate) {
  images_done_ += step.images;
  const double seconds = std::max(context_.reporter.seconds() - begin_seconds_, 1e-9);
  const double images_per_second = static_cast<double>(images_done_) / seconds;
  const auto percent = [&](std::int64_t count) { return 100.0 * double(count) / double(step.images); };
  char text[120], classes[60] = "";
  nlohmann::json fields = {{"stage", parameters_.name},
                           {"iteration", done},
                           {"iterations", parameters_.iterations},
                           {"epoch", (done - 1) / of_epoch_},
                           {"learning_rate", learning_rate},
                           {"loss", step.loss},
                           {"images_per_second", images_per_second},
                           {"seconds",
                            {{"step", step_seconds},
                             {"data", data_seconds},
                             {"teacher", step.seconds.teacher},
                             {"forward", step.seconds.forward},
                             {"backward", step.seconds.backward},
                             {"exchange", step.seconds.exchange},
                             {"update", step.seconds.update}}}};
  if (step.classifies) {
    fields["top1"] = percent(step.top1);
    fields["agreement"] = percent(step.agreement);
    std::snprintf(classes, sizeof classes, "top-1 %.1f %%, agreement %.1f %%, ", percent(step.top1),
                  percent(step.agreement));
  }
  context_.reporter.event("step", fields);
  std::snprintf(text, sizeof text, "loss %.4f, %s%.0f images/s", step.loss, classes, images_per_second);
  context_.reporter.progress(parameters_.name, done, parameters_.iterations, text);
}

bool is_trainer_array(const std::string& name) {
  return name.rfind("trainer/", 0) == 0;  // no qualified name of a tensor has a slash
}

void save_trainer(Trainer& trainer, Checkpoint& checkpoint) {
  const Optimizer::State& state = trainer.optimizer().state();
  checkpoint.progress["optimizer_steps"] = state.steps;
  checkpoint.tensors.push_back(as_array("trainer/values", std::span<const float>(trainer.space().values())));
  checkpoint.tensors.push_back(as_array("trainer/first_moments", std::span<const float>(state.first)));
  checkpoint.tensors.push_back(as_array("trainer/second_moments", std::span<const float>(state.second)));
  checkpoint.tensors.push_back(as_array("trainer/bounds", std::span<const double>(trainer.sums().bounds())));
}

void restore_trainer(Trainer& trainer, const Checkpoint& checkpoint) {
  const Optimizer::State& now = trainer.optimizer().state();
  const std::span<float> values = trainer.space().values();
  const std::vector<float> found = take_array(checkpoint.tensors, "trainer/values", values.size());
  std::copy(found.begin(), found.end(), values.begin());
  trainer.optimizer().set_state({take_array(checkpoint.tensors, "trainer/first_moments", now.first.size()),
                                 take_array(checkpoint.tensors, "trainer/second_moments", now.second.size()),
                                 number_in(checkpoint, "optimizer_steps")});
  const auto bounds = take_doubles(checkpoint.tensors, "trainer/bounds", trainer.sums().bounds().size());
  if (std::any_of(bounds.begin(), bounds.end(), [](double bound) { return bound < 0; }))
    throw DataError(
        "the checkpoint's array 'trainer/bounds' has a negative one; begin anew with --resume no");
  trainer.sums().set_bounds(bounds);
  trainer.show();
}

}  // namespace bitfall
