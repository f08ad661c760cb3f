"""Can a face still be seen in the result, and can it be matched to the patient's own?"""
