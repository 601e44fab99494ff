/* Runs the signature certify_with of a SavedModel with TensorFlow's C library and no Python:
 *
 *     certify_from_c VERSION HEIGHT WIDTH CHANNELS N
 *
 * for one grey image, and prints label, radius and votes. With N = -1 the image has the wrong shape.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void nothing(void *data, size_t length, void *argument) {}

static void check(TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "code %d: %s\n", TF_GetCode(status), TF_Message(status));
    exit(1);
  }
}

static TF_Output placed(TF_Graph *graph, const char *name) {
  char operation[256];
  strcpy(operation, name);
  char *colon = strrchr(operation, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, operation), index};
  if (!output.oper) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return output;
}

/* Names of the tensors come in the order images, seed, n, alpha, label, radius, votes. */
int main(int argc, char **argv) {
  int64_t shape[4] = {1, atoll(argv[2]), atoll(argv[3]), atoll(argv[4])};
  int32_t n = atoi(argv[5]);
  if (n < 0) {
    shape[1] /= 2;
    n = 100;
  }
  size_t pixels = shape[1] * shape[2] * shape[3];
  float *image = malloc(pixels * sizeof(float));
  for (size_t i = 0; i < pixels; i++) image[i] = 0.5f;
  int64_t seed = 3, one[1] = {1};
  double alpha = 0.01;

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output inputs[4], outputs[3];
  for (int i = 0; i < 4; i++) inputs[i] = placed(graph, argv[6 + i]);
  for (int i = 0; i < 3; i++) outputs[i] = placed(graph, argv[10 + i]);
  TF_Tensor *values[4] = {
      TF_NewTensor(TF_FLOAT, shape, 4, image, pixels * sizeof(float), nothing, NULL),
      TF_NewTensor(TF_INT64, one, 1, &seed, sizeof seed, nothing, NULL),
      TF_NewTensor(TF_INT32, one, 1, &n, sizeof n, nothing, NULL),
      TF_NewTensor(TF_DOUBLE, one, 1, &alpha, sizeof alpha, nothing, NULL)};
  TF_Tensor *answers[3] = {0};
  TF_SessionRun(session, NULL, inputs, values, 4, outputs, answers, 3, NULL, 0, NULL, status);
  check(status);

  printf("%lld %.9g", (long long)*(int64_t *)TF_TensorData(answers[0]),
         *(float *)TF_TensorData(answers[1]));
  int32_t *votes = TF_TensorData(answers[2]);
  for (int64_t i = 0; i < TF_Dim(answers[2], 1); i++) printf(" %d", votes[i]);
  printf("\n");
  return 0;
}
